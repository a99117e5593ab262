// Package pgtx runs a function in a PostgreSQL transaction that commits at most once.
//
//	err := pgtx.Run(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
//		_, err := tx.Exec(ctx, `update accounts set balance = balance - 10 where id = $1`, id)
//		return err
//	})
//
// The function may run more than once. After a serialization failure, a deadlock or a connection
// lost before COMMIT was sent, Run rolls back, waits and calls it again. Its effects in the
// database happen at most once. Effects elsewhere (an e-mail, a variable outside) happen once per
// call, so keep them out of the function.
//
// On a pool, Run takes no connection and sends nothing until the first statement. BEGIN travels
// with that statement.
//
// If a connection breaks after COMMIT was sent, the client cannot see what happened. Run never
// repeats such a transaction and returns a [*CommitUnknownError]. With [Options.VerifyCommit] it
// asks the server. With [Options.IdempotencyKey] the answer is certain across failovers too.
//
// A Run inside the function of another, on the same database and with the function's context, is a
// savepoint of that transaction.
//
// Run returns the function's error as it is. Errors that Run meets itself are in a [*PhaseError]: a
// [*RetryError] when no attempt is left, a [*SwallowedError] when the function overlooked a failed
// statement, and the others that Run lists. All functions are safe for concurrent use if db is. A
// transaction is for one goroutine at a time.
package pgtx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// DB can run a transaction: [*pgxpool.Pool], [*pgxpool.Conn], [*pgx.Conn], or a [pgx.Tx], on which
// Run opens a savepoint. A pool is recognized by its Acquire, which may be your own, and a
// connection by its Conn. A wrapper of a pgx.Tx must have all of its methods.
//
// The value identifies the database when Run calls are nested, so it must be comparable: pass a
// pointer.
type DB interface {
	Begin(ctx context.Context) (pgx.Tx, error)
	Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Run calls fn in a transaction on db and commits if fn returns nil. If fn returns an error, panics
// or calls runtime.Goexit, Run rolls back. It returns fn's error as it is. A panic goes on with its
// stack.
//
// Run calls fn again, at most [Options.MaxAttempts] times, if the connection was lost before COMMIT
// was sent, or if a statement of this transaction failed in a way that may pass: a serialization
// failure (40001), a deadlock (40P01), a server that is shutting down or starting (57P01 to 57P03),
// too many connections (53300), a prepared statement that a migration made useless, or a write
// refused as read-only (25006), unless the transaction or session is read-only by choice. The
// failure that this transaction met decides, even if fn returns another error. When no attempt is
// left, the error is a [*RetryError]. A single connection that is closed ends the attempts.
//
// tx is a real [pgx.Tx] for sqlc, scany and the like, except that Commit and Rollback return
// [ErrManaged]. It belongs to fn. After fn has returned, every use is [ErrTxClosed]. Use while rows
// are open or by a second goroutine is [ErrTxInUse]. Statements on tx.Conn() and tx.LargeObjects()
// bypass these checks.
//
// fn's ctx carries the transaction. A Run with it on the same db, or on tx, is a savepoint. If its
// function fails, it is rolled back and released, and never repeated on its own. After a
// serialization failure or deadlock inside, the whole transaction rolls back even if the outer
// function goes on, so that the outermost Run can repeat it. A Run on another db is a transaction
// of its own: it commits by itself, and again if the outer one is repeated.
//
// ctx applies to the acquire, to BEGIN and to what fn does with it. If ctx is done when fn returns
// nil, Run rolls back. The end of ctx does not cut off COMMIT, which would make its outcome
// unknown: COMMIT and ROLLBACK have 5 s more.
//
// Run's own errors are in a [*PhaseError]: "acquire: …" and "begin: …", which fn meets at its first
// statement; [*SwallowedError] if a statement failed and fn returned nil; [*CommitUnknownError] if
// the outcome of COMMIT is not known; "commit: …" if the server refused it, because of a deferred
// constraint for instance. Run is safe for concurrent use if db is.
func Run(ctx context.Context, db DB, fn func(ctx context.Context, tx pgx.Tx) error) error {
	return RunWith(ctx, db, Options{}, fn)
}

// RunWith is [Run] with options.
func RunWith(ctx context.Context, db DB, opts Options, fn func(ctx context.Context, tx pgx.Tx) error) error {
	if fn == nil {
		return refused(errors.New("begin: the function is nil"))
	}
	ctx, cancel := withLimit(ctx, opts.Timeout, ErrTimeout)
	defer cancel()
	return run(ctx, db, opts, fn)
}

// Value is [Run] for a function with a result. See [ValueWith].
func Value[T any](ctx context.Context, db DB, fn func(ctx context.Context, tx pgx.Tx) (T, error)) (T, error) {
	return ValueWith(ctx, db, Options{}, fn)
}

// ValueWith is [RunWith] for a function with a result. With an error the result is T's zero value,
// except with a [*HookError], because then it was committed. After [ErrRollback] it is what the
// function returned. With an IdempotencyKey the result is stored as JSON.
func ValueWith[T any](
	ctx context.Context, db DB, opts Options, fn func(ctx context.Context, tx pgx.Tx) (T, error),
) (T, error) {
	var result, zero T
	if fn == nil {
		return zero, RunWith(ctx, db, opts, nil)
	}
	opts.result = func() (string, error) {
		text, err := json.Marshal(result)
		return string(text), err
	}
	opts.replay = func(stored *string) error {
		var fresh T // nothing of an attempt before shows through
		if stored == nil {
			return ErrNoResult
		}
		if err := json.Unmarshal([]byte(*stored), &fresh); err != nil {
			return fmt.Errorf("stored result: %w", err)
		}
		result = fresh
		return nil
	}
	err := RunWith(ctx, db, opts, func(ctx context.Context, tx pgx.Tx) error {
		var err error
		result, err = fn(ctx, tx)
		return err
	})
	if err != nil && !errors.As(err, new(*HookError)) {
		// The value of an attempt that was rolled back describes a state that never was.
		return zero, err
	}
	return result, err
}
