package pgtx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgerr"
)

var (
	// ErrRollback makes Run roll back and return nil if the function returns it: a dry run. A
	// nested Run undoes only itself. With [Join] it is returned, for the outer function to pass on.
	ErrRollback = errors.New("roll back")

	// ErrTxClosed is returned by every use of a transaction after its function has returned: by its
	// handle, and by a nested Run with the function's context. It wraps [pgx.ErrTxClosed], which a
	// savepoint returns after its own Commit or Rollback.
	ErrTxClosed = fmt.Errorf("the function this transaction was given to has returned: %w", pgx.ErrTxClosed)

	// ErrTxInUse is returned instead of "conn busy" while the transaction's one connection is
	// taken: rows or batch results are open, another goroutine is in a statement, or a nested Run
	// is under way elsewhere.
	ErrTxInUse = errors.New("the transaction is in use: close open rows and batch results first, " +
		"and use it from one goroutine at a time")

	// ErrManaged is returned by Commit and Rollback on the transaction that a function is given.
	ErrManaged = errors.New("pgtx commits when the function returns nil and rolls back when it returns an error: " +
		"return instead")

	// ErrOptionConflict is returned by a nested RunWith if the transaction around it can no longer
	// take its options. [Options] lists them.
	ErrOptionConflict = errors.New("nested transaction cannot change the transaction's options")

	// ErrEnded is returned if the function itself sent COMMIT or ROLLBACK as SQL, by every later
	// statement and by Run. The work before it has the outcome of that statement. It is never
	// repeated.
	//
	// Sometimes not all answers of the server are visible: after a lost connection, and with
	// several statements in one Query of the simple protocol or in one Exec with arguments. Then
	// the words of the text decide, even a COMMIT in a literal.
	ErrEnded = errors.New("the function ended the transaction with a statement of its own: " +
		"remove its COMMIT or ROLLBACK")

	// ErrTimeout is the cause of the end of the function's ctx after Options.Timeout. It wraps
	// [context.DeadlineExceeded].
	ErrTimeout = fmt.Errorf("transaction: Timeout exceeded: %w", context.DeadlineExceeded)

	// ErrAttemptTimeout is the cause of the end of the function's ctx after
	// Options.AttemptTimeout. It wraps [context.DeadlineExceeded].
	ErrAttemptTimeout = fmt.Errorf("transaction: AttemptTimeout exceeded: %w", context.DeadlineExceeded)

	// ErrAcquireTimeout is returned if no connection was free within Options.AcquireTimeout: the
	// pool is too small, or connections are held too long. It wraps [context.DeadlineExceeded]. The
	// error around it also wraps what the pool says.
	ErrAcquireTimeout = fmt.Errorf("no connection within AcquireTimeout: %w", context.DeadlineExceeded)
)

// hasCode reports whether err is an error of the server with one of these codes.
func hasCode(err error, codes ...string) bool {
	var pgError *pgconn.PgError
	return errors.As(err, &pgError) && slices.Contains(codes, pgError.Code)
}

// RetryError is returned if an attempt failed with an error worth another attempt, and none is
// left: MaxAttempts is reached, Backoff stopped, or the context ended.
type RetryError struct {
	// Attempts counts the calls of the function, or the tries of BEGIN. It is at least 1.
	Attempts int
	// Err is the last error of the database.
	Err error
	// Ended is set if the context ended, not the number of attempts.
	Ended error
}

func (e *RetryError) Error() string {
	text := fmt.Sprintf("transaction: gave up after %d attempts: ", e.Attempts)
	if e.Attempts == 1 {
		text = "transaction: gave up after 1 attempt: "
	}
	if e.Ended != nil {
		text += e.Ended.Error() + "; last error: "
	}
	return text + e.Err.Error()
}

// Unwrap returns Err and, if set, Ended.
func (e *RetryError) Unwrap() error { return errors.Join(e.Err, e.Ended) }

// CommitUnknownError is returned if COMMIT was sent and no answer says what happened. The
// transaction may or may not be committed; with VerifyCommit or an IdempotencyKey the server could
// not tell. It is never repeated.
//
// Resolve asks again. Without XID and Key, look for the effects on a new connection, or run the
// transaction again only if running it twice does no harm.
type CommitUnknownError struct {
	// Err is the error in place of the server's answer.
	Err error
	// XID is the transaction's id, as decimal text, and Server identifies the run of the server
	// that gave it, if VerifyCommit was set. Server is an opaque text without secrets.
	XID, Server string
	// Key is the IdempotencyKey, and Owner the token in its row, if there was a key. A row with
	// another owner comes from another transaction.
	Key, Owner string
	// Unresolved says why the outcome was not found. It is nil if nothing was tried.
	Unresolved error
}

func (e *CommitUnknownError) Error() string {
	text := "commit: outcome unknown, check whether it took effect before running it again: "
	if e.Err != nil {
		text += e.Err.Error()
	}
	if e.Unresolved != nil {
		text += "; " + e.Unresolved.Error()
	}
	return text
}

// Unwrap returns Err and Unresolved.
func (e *CommitUnknownError) Unwrap() error { return errors.Join(e.Err, e.Unresolved) }

// Category returns [pgerr.CommitUnknown], which pgerr never takes for retryable.
func (e *CommitUnknownError) Category() pgerr.Category { return pgerr.CommitUnknown }

// SwallowedError is returned if a statement failed and the function returned nil. PostgreSQL can
// only roll back then. It is repeated if First is worth it.
type SwallowedError struct {
	// First is the error of the first statement that failed. It is [pgx.ErrTxCommitRollback] if
	// that statement did not use the transaction's handle, but Conn() or LargeObjects.
	First error
}

func (e *SwallowedError) Error() string {
	return "commit: rolled back, because a statement failed and the function returned nil: " + e.First.Error()
}

// Unwrap returns First and [pgx.ErrTxCommitRollback].
func (e *SwallowedError) Unwrap() error { return errors.Join(e.First, pgx.ErrTxCommitRollback) }

// HookError is returned if the transaction is committed and a hook of [AfterCommit] failed. It is
// never repeated. [ValueWith] returns the value with it.
type HookError struct {
	// Err has the errors of the hooks, in the order in which they were called.
	Err error
}

func (e *HookError) Error() string {
	return "transaction: committed, but a hook failed: " + e.Err.Error()
}

// Unwrap returns Err.
func (e *HookError) Unwrap() error { return e.Err }

// PhaseError says in which phase a transaction failed, and after how long. It is around every error
// that Run and Atomic meet themselves. Find it with errors.As; the other types, the sentinels and
// pgerr.Of see through it.
//
// The function's own error has none around it. But a function may return the error of a statement
// or of another Run, which may have one: a failed acquire or BEGIN is the error of the first
// statement. If the connection breaks under BEGIN and the first statement, nothing tells which of
// the two it was, and the error is the statement's.
type PhaseError struct {
	// Phase is one of:
	//
	//	acquire  the wait for a connection, with its connect if it is new
	//	begin    BEGIN, or the SAVEPOINT of a nested Run, and the checks before it
	//	run      the function returned nil, but cannot be committed, or a limit ended it
	//	commit   COMMIT, or the RELEASE of a nested Run, was sent
	Phase string
	// After says how long the phase had lasted. If Options.Timeout ended the function, it is the
	// time since Run was called.
	After time.Duration
	// Err says what went wrong. Its text begins with the operation.
	Err error
}

// Error returns the text of Err.
func (e *PhaseError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *PhaseError) Unwrap() error { return e.Err }

type phase string

const (
	phaseAcquire phase = "acquire"
	phaseBegin   phase = "begin"
	phaseRun     phase = "run"
	phaseCommit  phase = "commit"
)

// in puts err into the phase that began at start, unless it has one. nil stays nil.
func (p phase) in(start time.Time, err error) error {
	if err == nil || errors.As(err, new(*PhaseError)) {
		return err
	}
	return &PhaseError{Phase: string(p), After: time.Since(start), Err: err}
}

// refused returns an error of the begin phase, before anything was sent.
func refused(err error) error { return &PhaseError{Phase: string(phaseBegin), Err: err} }
