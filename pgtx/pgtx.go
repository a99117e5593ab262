// Package pgtx runs a function in a PostgreSQL transaction that commits at most once.
//
//	err := pgtx.Run(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
//		_, err := tx.Exec(ctx, `update accounts set balance = balance - 10 where id = $1`, id)
//		return err
//	})
//
// The function may run more than once: after a serialization failure, a deadlock or a connection
// lost before COMMIT was sent, Run rolls back, waits and calls it again. Its effects in the
// database happen at most once; effects elsewhere (an e-mail, a variable outside) happen once per
// call, so keep them out of the function.
//
// On a pool no connection is taken and nothing is sent until the first statement, which travels
// with BEGIN.
//
// A connection that breaks after COMMIT was sent leaves an outcome nobody can see from the client.
// Run never repeats such a transaction and returns a [*CommitUnknownError]. With
// [Options.VerifyCommit] it asks the server what happened, and [Options.IdempotencyKey] makes the
// answer certain across failovers too.
//
// A Run inside the function of another, on the same database and with the context the function was
// given, is a savepoint of that transaction.
//
// An error of the function comes back as it is. Errors that Run meets itself are in a
// [*PhaseError]: a [*RetryError] when the attempts are used up, a [*SwallowedError] when the
// function overlooked a failed statement, and the others that Run lists. All functions are safe for
// concurrent use if db is; a transaction is for one goroutine at a time.
package pgtx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// DB can start a transaction: [*pgxpool.Pool], [*pgxpool.Conn], [*pgx.Conn], or a [pgx.Tx], on
// which Run opens a savepoint instead.
//
// Methods beyond these four are found by assertion. With Acquire, as *pgxpool.Pool has it, a
// transaction begins with its first statement, on the connection that Acquire returns; without,
// BEGIN is a round trip of its own. Without BeginTx, a transaction with TxOptions is refused. A DB
// that wraps a pgx.Tx and hides its Commit and Rollback cannot be told from a pool: Run then takes
// the savepoint its Begin opens for a whole transaction and may repeat it. Pass the pgx.Tx itself.
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
// or calls runtime.Goexit, the transaction is rolled back; the error is returned as it is, the
// panic goes on with its stack.
//
// fn may be called again. If a statement of this transaction failed with a serialization failure
// (40001), a deadlock (40P01), a server that is shutting down or starting (57P01 to 57P03), too
// many connections (53300), a write refused as read-only (25006) where the transaction and the
// session are not read-only by choice, or a prepared statement that a migration made useless, or if
// the connection was lost before COMMIT was sent, Run rolls back, waits and calls fn again, at most
// [Options.MaxAttempts] times; then the result is a [*RetryError] with the last error. What this
// transaction met decides, whatever fn makes of the error. A result on a single *pgx.Conn or
// *pgxpool.Conn that is closed is final.
//
// tx is a real [pgx.Tx] for sqlc, scany and the like, except that its Commit and Rollback are
// [ErrManaged]. It belongs to fn: after fn has returned its use is [ErrTxClosed], and a second
// goroutine or open rows make it [ErrTxInUse]. Statements through tx.Conn() and tx.LargeObjects()
// bypass these checks.
//
// The ctx fn is given carries the transaction: a Run with it on the same db, or on tx, is a
// savepoint, which is rolled back and released if its fn fails and never repeated on its own. After
// a serialization failure or deadlock inside, the whole transaction rolls back even if the outer
// function goes on, so that the outermost Run can repeat it. A Run on another db is a transaction
// of its own; it commits by itself, and again if the outer one is repeated.
//
// ctx applies to the acquire, BEGIN and what fn does with it. A ctx that is done when fn returns
// nil means rollback. COMMIT is not cut by ctx, which would make its outcome unknowable: it has 5 s
// after the end of ctx, as ROLLBACK has.
//
// Errors other than fn's own, each in a [*PhaseError]: "acquire: …" and "begin: …", which fn meets
// at its first statement; [*SwallowedError] if a statement failed and fn returned nil;
// [*CommitUnknownError] if nobody can say whether the transaction committed; "commit: …" if the
// server refused it (a deferred constraint, say). Run is safe for concurrent use if db is.
func Run(ctx context.Context, db DB, fn func(ctx context.Context, tx pgx.Tx) error) error {
	return RunWith(ctx, db, Options{}, fn)
}

// RunWith is [Run] with options.
func RunWith(ctx context.Context, db DB, opts Options, fn func(ctx context.Context, tx pgx.Tx) error) error {
	if fn == nil {
		return refused(errors.New("begin: the function is nil"))
	}
	ctx, cancel, explain := opts.limit(ctx)
	defer cancel()
	return explain(run(ctx, db, opts, fn))
}

// Value is [Run] for a function with a result. See [ValueWith].
func Value[T any](ctx context.Context, db DB, fn func(ctx context.Context, tx pgx.Tx) (T, error)) (T, error) {
	return ValueWith(ctx, db, Options{}, fn)
}

// ValueWith is [RunWith] for a function with a result. On an error the result is T's zero value,
// except for a [*HookError]: then it was committed. After [ErrRollback] it is what the function
// returned. With an IdempotencyKey the result is stored as JSON, so that T has to survive that.
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

type scopeKey struct{}

// scope is one entry in the list of open transactions that a context carries, innermost first.
// There is one list for all databases, so that a Run on a second database does not hide the first.
// It is the context that carries it, too.
type scope struct {
	context.Context
	tx    *tx
	key   any
	ended bool // hides the transactions of its database around it: a hook runs after them
	outer *scope
}

func withScope(ctx context.Context, t *tx) context.Context {
	outer, _ := ctx.Value(scopeKey{}).(*scope)
	return &scope{Context: ctx, tx: t, key: t.session.key, outer: outer}
}

// afterScope is ctx for what runs after the transaction of t has ended. It does not end with ctx.
func afterScope(ctx context.Context, t *tx) context.Context {
	ctx = context.WithoutCancel(ctx)
	outer, _ := ctx.Value(scopeKey{}).(*scope)
	return &scope{Context: ctx, tx: t, key: t.session.key, ended: true, outer: outer}
}

func (s *scope) Value(key any) any {
	if _, ok := key.(scopeKey); ok {
		return s
	}
	return s.Context.Value(key)
}

// findHandle returns the innermost handle that ctx carries for the database key, or nil.
func findHandle(ctx context.Context, key any) *tx {
	s, _ := ctx.Value(scopeKey{}).(*scope)
	for ; s != nil; s = s.outer {
		if s.key == key {
			if s.ended {
				return nil
			}
			return s.tx
		}
	}
	return nil
}

// From returns the transaction that a Run on db has put into ctx, innermost first, and whether
// there is one. db is the value that was passed to Run, or a handle of that transaction. Once the
// function of that Run has returned, it is still returned, and every use of it is [ErrTxClosed]: a
// context that escaped must not silently fall back to the pool.
func From(ctx context.Context, db DB) (pgx.Tx, bool) {
	key, err := keyOf(db)
	if err != nil {
		return nil, false
	}
	if t := findHandle(ctx, key); t != nil {
		return t, true
	}
	return nil, false
}

// Querier returns the transaction that a Run on db has put into ctx, innermost first, or db itself
// if there is none. A repository that runs its statements on it works alone and inside a
// transaction, with one version of each method. As with [From], a ctx that outlived its Run gives a
// handle whose every use is [ErrTxClosed], never the pool.
func Querier(ctx context.Context, db DB) DB {
	if tx, ok := From(ctx, db); ok {
		return tx
	}
	return db
}

// Attempt returns how often the function of the transaction innermost in ctx has been called, this
// time included: 1 in the first attempt, 0 outside a Run.
func Attempt(ctx context.Context) int {
	if s, ok := ctx.Value(scopeKey{}).(*scope); ok {
		return s.tx.session.attempt
	}
	return 0
}

// Name returns the Options.Name of the Run innermost in ctx, "" outside. With [Attempt] it is for
// tracers of pgx: the ctx of every statement of a transaction has it, BEGIN, COMMIT, savepoints and
// the acquire included.
func Name(ctx context.Context) string {
	if s, ok := ctx.Value(scopeKey{}).(*scope); ok {
		return s.tx.name
	}
	return ""
}

// keyOf identifies the database behind db: the value itself, and for a handle of ours what its
// transaction was begun on.
func keyOf(db DB) (any, error) {
	if t := handleOf(db); t != nil {
		return t.session.key, nil
	}
	value := reflect.ValueOf(db)
	if !value.IsValid() || value.Kind() == reflect.Pointer && value.IsNil() {
		return nil, errors.New("db is nil: pass a connected pool, a connection or a transaction")
	}
	if !value.Comparable() {
		return nil, fmt.Errorf("a db of type %T is not comparable, so a nested Run could not recognize it: "+
			"pass a pointer", db)
	}
	return db, nil
}

func handleOf(db DB) *tx {
	switch t := db.(type) {
	case *tx:
		return t
	case *savepoint:
		return t.tx
	}
	return nil
}
