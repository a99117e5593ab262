package pgtx

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgerr"
)

var (
	// ErrRollback rolls the transaction back if the function returns it, and makes Run return nil: a
	// dry run. In a nested Run only that one is undone; with [Join] it is returned, for the outer
	// function to pass on.
	ErrRollback = errors.New("roll back")

	// ErrTxClosed is returned by every use of a transaction whose function has returned: by its
	// handle, and by a nested Run with the context of that function. It wraps [pgx.ErrTxClosed],
	// which a savepoint returns after its own Commit or Rollback.
	ErrTxClosed = fmt.Errorf("the function this transaction was given to has returned: %w", pgx.ErrTxClosed)

	// ErrTxInUse is returned instead of "conn busy" while the transaction's one connection is
	// taken: rows or batch results are still open, another goroutine is in a statement, or a nested
	// Run is under way elsewhere.
	ErrTxInUse = errors.New("the transaction is in use: close open rows and batch results first, " +
		"and use it from one goroutine at a time")

	// ErrManaged is returned by Commit and Rollback on the transaction that a function is given.
	ErrManaged = errors.New("pgtx commits when the function returns nil and rolls back when it returns an error: " +
		"return instead")

	// ErrOptionConflict is returned by a nested RunWith whose options the transaction around it can
	// no longer take. [Options] lists them.
	ErrOptionConflict = errors.New("nested transaction cannot change the transaction's options")

	// ErrEnded is returned when the function itself sent COMMIT or ROLLBACK as SQL, by every
	// statement after it and by Run. What the function did before has the outcome of that
	// statement. It is never retried.
	//
	// Where not all answers of the server can be seen, the words of the text decide: with several
	// statements in one Query of the simple protocol, or in one Exec with arguments, and after a
	// lost connection. COMMIT in a literal counts too, so such a text may be taken for an end.
	ErrEnded = errors.New("the function ended the transaction with a statement of its own: " +
		"remove its COMMIT or ROLLBACK")

	// ErrTimeout is the cause of the end of the function's ctx after Options.Timeout. It wraps
	// [context.DeadlineExceeded].
	ErrTimeout = fmt.Errorf("transaction: Timeout exceeded: %w", context.DeadlineExceeded)

	// ErrAttemptTimeout is the cause of the end of the function's ctx after
	// Options.AttemptTimeout. It wraps [context.DeadlineExceeded].
	ErrAttemptTimeout = fmt.Errorf("transaction: AttemptTimeout exceeded: %w", context.DeadlineExceeded)

	// ErrAcquireTimeout is returned when no connection was free within Options.AcquireTimeout: the
	// pool is too small, or connections are held too long. It wraps [context.DeadlineExceeded]. The
	// error around it wraps the pool's own too.
	ErrAcquireTimeout = fmt.Errorf("no connection within AcquireTimeout: %w", context.DeadlineExceeded)
)

// RetryError is returned when an attempt failed with an error worth another one, and there is none
// left: MaxAttempts is reached, Backoff stopped, or the context ended, between two attempts or in
// the next.
type RetryError struct {
	// Attempts counts the calls of the function, or the tries of BEGIN. It is at least 1.
	Attempts int
	// Err is the last error of the database.
	Err error
	// Ended is set if it was the end of the context and not the number of attempts.
	Ended error
}

func (e *RetryError) Error() string {
	text := "transaction: gave up after " + strconv.Itoa(e.Attempts) + " attempts: "
	if e.Attempts == 1 {
		text = "transaction: gave up after 1 attempt: "
	}
	if e.Ended != nil {
		text += e.Ended.Error() + "; last error: "
	}
	return text + e.Err.Error()
}

// Unwrap returns the last error and, if set, what ended the context.
func (e *RetryError) Unwrap() []error {
	if e.Ended != nil {
		return []error{e.Err, e.Ended}
	}
	return []error{e.Err}
}

// CommitUnknownError is returned when COMMIT was sent and got no answer that says what became of
// it: the transaction may or may not be committed, and with VerifyCommit or an IdempotencyKey the
// server could not tell. It is never retried. Resolve asks again; without XID and Key, look for its
// effects on a new connection, or run a transaction again that is harmless twice.
type CommitUnknownError struct {
	// Err is the error that came in place of the server's answer.
	Err error
	// XID is the transaction's id, as decimal text, and Server identifies the run of the server
	// that gave it, if VerifyCommit was set. Server is an opaque text without secrets.
	XID, Server string
	// Key is the IdempotencyKey, and Owner the token in its row, if there was a key. A row with
	// another owner is another transaction's.
	Key, Owner string
	// Unresolved says why the outcome was not found, or is nil if nothing was tried.
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
func (e *CommitUnknownError) Unwrap() []error {
	var causes []error
	for _, err := range []error{e.Err, e.Unresolved} {
		if err != nil {
			causes = append(causes, err)
		}
	}
	return causes
}

// Category is [pgerr.CommitUnknown], which pgerr never takes for retryable.
func (e *CommitUnknownError) Category() pgerr.Category { return pgerr.CommitUnknown }

// SwallowedError is returned when a statement failed, the function returned nil all the same, and
// PostgreSQL therefore could only roll back. It is retried if First is worth it.
type SwallowedError struct {
	// First is the error of the first statement that failed. It is [pgx.ErrTxCommitRollback] if
	// that one did not pass through the transaction's handle (a statement on Conn() or through
	// LargeObjects).
	First error
}

func (e *SwallowedError) Error() string {
	return "commit: rolled back, because a statement failed and the function returned nil: " + e.First.Error()
}

// Unwrap returns First and [pgx.ErrTxCommitRollback].
func (e *SwallowedError) Unwrap() []error { return []error{e.First, pgx.ErrTxCommitRollback} }

// HookError is returned when the transaction is committed and an AfterCommit hook or a callback of
// [Atomic] failed. It is never retried.
type HookError struct {
	// Err is the error of the hook or callback, or of several, joined.
	Err error
}

func (e *HookError) Error() string {
	return "transaction: committed, but a hook failed: " + e.Err.Error()
}

// Unwrap returns Err.
func (e *HookError) Unwrap() error { return e.Err }

// PhaseError says in which phase a transaction failed and after how long. Every error that Run and
// Atomic meet themselves is in one. Find it with errors.As; the other types, the sentinels and
// pgerr.Of see through it.
//
// An error without one is the function's own, as it returned it. A function that returns the error
// of a statement or of another Run may return theirs: in a lazy transaction a failed acquire or
// BEGIN is the first statement's error. If the connection breaks under BEGIN and the first
// statement, nobody can tell which of them it was: the error is the statement's.
type PhaseError struct {
	// Phase is "acquire" (the wait for a connection, and its connect if it is new), "begin" (BEGIN,
	// or the SAVEPOINT of a nested Run, and what is checked before), "run" (the function returned
	// nil, but its work cannot be committed, or a limit ended it), or "commit" (COMMIT, or the
	// RELEASE of a nested Run, was sent).
	Phase string
	// After is how long the phase had lasted; for a function cut off by Options.Timeout, the time
	// since Run was called.
	After time.Duration
	// Err is what went wrong. Its text begins with the operation.
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

// in puts err, if it is none of the function's own, into the phase that began at start. An error
// that knows its phase is left alone. nil stays nil.
func (p phase) in(start time.Time, err error) error {
	if err == nil || errors.As(err, new(*PhaseError)) {
		return err
	}
	return &PhaseError{Phase: string(p), After: time.Since(start), Err: err}
}

// refused is an error of the begin phase before anything was sent.
func refused(err error) error { return &PhaseError{Phase: string(phaseBegin), Err: err} }
