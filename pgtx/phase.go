package pgtx

import (
	"errors"
	"time"
)

// Phase is a part of a transaction.
type Phase string

const (
	// PhaseAcquire is the wait for a connection of the pool, and its connect if it is a new one.
	PhaseAcquire Phase = "acquire"
	// PhaseBegin is BEGIN, or the SAVEPOINT of a nested Run, and what is checked before it.
	PhaseBegin Phase = "begin"
	// PhaseRun is the function: it returned nil, but what it left cannot be committed, or ctx or
	// Timeout ended meanwhile.
	PhaseRun Phase = "run"
	// PhaseCommit is COMMIT, or the RELEASE of a nested Run: it was sent.
	PhaseCommit Phase = "commit"
)

// PhaseError says in which phase a transaction failed and after how long. Every error that Run, and
// Atomic, meet themselves is in one; find it with errors.As, and what went wrong by the other
// types, sentinels and pgerr.Of, which see through it. An error without one is the function's own,
// as it returned it; but a function that returns what a statement or another Run gave it may return
// theirs: a failed acquire or BEGIN shows in the first statement of a lazy transaction.
//
// A BEGIN that travels with the first statement fails in PhaseBegin if the server refuses it. If
// the connection breaks under the two, nobody can tell which it was: the error is the statement's.
type PhaseError struct {
	Phase Phase
	// After is how long the phase had lasted. For a function cut off by Options.Timeout it is the
	// time since Run was called.
	After time.Duration
	// Err is what went wrong. Its text begins with the operation.
	Err error
}

// Error returns the text of Err.
func (e *PhaseError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *PhaseError) Unwrap() error { return e.Err }

// in puts err, if it is none of the function's own, into the phase that began at start. An error
// that knows its phase is left alone. nil stays nil.
func (p Phase) in(start time.Time, err error) error {
	if err == nil || errors.As(err, new(*PhaseError)) {
		return err
	}
	return &PhaseError{Phase: p, After: time.Since(start), Err: err}
}

// refused is an error of PhaseBegin before anything was sent.
func refused(err error) error { return &PhaseError{Phase: PhaseBegin, Err: err} }
