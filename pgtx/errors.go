package pgtx

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgerr"
)

var (
	// ErrTxClosed is returned by every use of a transaction whose function has returned: by its
	// handle, and by a nested Run with the context of that function. It wraps [pgx.ErrTxClosed].
	ErrTxClosed = fmt.Errorf("the function this transaction was given to has returned: %w", pgx.ErrTxClosed)

	// ErrTxInUse is returned instead of "conn busy" while the transaction's one connection is
	// taken: rows or batch results are still open, another goroutine is in a statement, or a nested
	// Run is under way elsewhere.
	ErrTxInUse = errors.New("the transaction is in use: close open rows and batch results first, and use it from one goroutine at a time")

	// ErrManaged is returned by Commit and Rollback on the transaction that a function is given.
	ErrManaged = errors.New("pgtx commits when the function returns nil and rolls back when it returns an error: return instead")

	// ErrOptionConflict is returned by a nested RunWith whose options the transaction around it
	// cannot take on any more: other TxOptions than its own, limits of the server, an
	// AttemptTimeout, an IdempotencyKey.
	ErrOptionConflict = errors.New("nested transaction cannot change the transaction's options")

	// ErrEnded is returned when the function itself sent COMMIT or ROLLBACK as SQL. What it did up
	// to there has the outcome of that statement, what came after was not in a transaction. It is
	// never retried.
	ErrEnded = errors.New("the function ended the transaction with a statement of its own: remove its COMMIT or ROLLBACK")
)

// RetryError is returned when an attempt failed with an error worth another one, and there is none
// left: MaxAttempts is reached, or the context ended, between two attempts or in the next.
type RetryError struct {
	// Attempts is how often the function was called or its BEGIN tried, at least 1.
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

// CommitUnknownError is returned when the connection broke, or the server stopped, after COMMIT was
// sent: the transaction may or may not be committed, and with VerifyCommit or an IdempotencyKey it
// could not be found out. It is never retried. Resolve asks again; without XID and Key, look for
// its effects on a new connection, or run a transaction again that is harmless twice.
type CommitUnknownError struct {
	// Err is what was met instead of the server's answer.
	Err error
	// XID is the transaction's id, as decimal text, and Server identifies the run of the server
	// that gave it, if VerifyCommit was set. Server is an opaque text without secrets.
	XID, Server string
	// Key is the IdempotencyKey, if there was one.
	Key string
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

// Unwrap returns what was met instead of the server's answer, and why that could not be made good.
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

// HookError is returned when the transaction is committed and what was to follow failed: a hook of
// [AfterCommit], or a callback of [Atomic]. It is never retried.
type HookError struct {
	// Err is the error of the hook or callback, or of several, joined.
	Err error
}

func (e *HookError) Error() string {
	return "transaction: committed, but a hook failed: " + e.Err.Error()
}

// Unwrap returns Err.
func (e *HookError) Unwrap() error { return e.Err }
