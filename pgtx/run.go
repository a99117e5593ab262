package pgtx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/sethvargo/go-retry"
)

func run(ctx context.Context, db DB, opts Options, fn func(ctx context.Context, tx pgx.Tx) error) error {
	key, err := keyOf(db)
	if err != nil {
		return refused(fmt.Errorf("begin: %w", err))
	}
	parent := findHandle(ctx, key)
	if handle, ok := db.(*tx); ok && (parent == nil || handle.ended() || handle.isInside(parent)) {
		parent = handle // one that has ended must return its error, even if ctx carries another
	}
	inside := parent != nil
	if inside {
		opts = opts.inherit(parent)
	}
	parent, db, err = opts.place(db, key, parent)
	if err == nil {
		err = opts.validate()
	}
	switch {
	case err != nil:
		return refused(fmt.Errorf("begin: %w", err))
	case parent != nil:
		return nest(ctx, parent, opts, fn)
	}
	w := opts.watch(ctx, cmp.Or(opts.kind, kindTransaction))
	defer w.abandoned()
	var last *attempt
	stale := 0 // attempts that met a stale connection of the pool
	err = repeat(ctx, opts, func(number int) (next next, err error) {
		limited, cancel := withLimit(ctx, opts.AttemptTimeout, ErrAttemptTimeout)
		defer cancel()
		a := newAttempt(ctx, limited, key, opts, number)
		a.beginsAlone = last != nil && last.result.lost
		last = a
		w.start(number, &a.result)
		again, err := a.run(db, inside, fn)
		w.end(err)
		pool, _ := db.(acquirer)
		switch {
		case !again:
			return nextNone, err
		case a.result.stale && stale < maxConns(pool):
			stale++
			return nextAtOnce, err
		}
		return nextAttempt, err
	})
	err = opts.nameTimeout(ctx, last.callLastHooks(err))
	w.finish(err)
	return err
}

// result is what is left of an attempt.
type result struct {
	outcome Outcome
	times   times
	lost    bool // the connection was lost before COMMIT
	stale   bool // a migration has changed a statement, and the pool has dropped the connection
}

// run calls fn once, in a transaction on db. It reports whether another attempt is worth it.
func (a *attempt) run(db DB, inside bool, fn func(context.Context, pgx.Tx) error) (again bool, err error) {
	returned := false
	defer func() {
		if !returned { // a panic or Goexit; without a recover, a panic keeps its stack
			_, _ = a.end(db, time.Now(), errNotReturned)
			_ = a.callLastHooks(errNotReturned)
		}
	}()
	start, replayed := time.Now(), false
	err = a.gate.enter(func(s *session) error { return s.start(db, inside) })
	if err == nil && a.opts.IdempotencyKey != "" {
		replayed, err = a.claimKey()
		err = phaseBegin.in(start, err)
	}
	start = time.Now()
	if err == nil && !replayed {
		if err = fn(a.ctx, &a.root); err == nil {
			err = a.hooks.callBefore(a.ctx)
		}
	}
	returned = true
	if err == nil && replayed {
		err = errReplayed
	}
	s, err := a.end(db, start, err)
	if s == nil || err == nil {
		return false, err
	}
	return s.conclude(db, err)
}

// errReplayed ends an attempt in place of an error of the function: the transaction with the
// idempotency key has committed.
var errReplayed = errors.New("replayed")

// end ends the transaction of a function that was called at start and returned err. It returns no
// session if a call of another goroutine still has it. Then the transaction is rolled back, because
// its connection was cut.
func (a *attempt) end(db DB, start time.Time, err error) (*session, error) {
	r := &a.result
	r.outcome = OutcomeRolledBack
	s := a.gate.shut(cleanupLimit)
	if s == nil {
		return nil, cmp.Or(err, phaseRun.in(start, fmt.Errorf("commit: rolled back: %w", ErrTxInUse)))
	}
	if err == nil {
		r.outcome, err = s.commit(db, start)
	} else {
		s.rollback()
	}
	switch {
	case s.state == stateEnded:
		r.outcome = OutcomeUnknown // it is in the hands of the function's own statement
	case err == errReplayed: //nolint:errorlint // no function returns it
		r.outcome, err = OutcomeCommitted, nil
	}
	r.times, r.lost, r.stale = s.times, s.state == stateLost, s.pool != nil && isChangedPlan(s.cause)
	return s, err
}

// conclude decides whether an attempt that ended with err is worth another, and returns its error.
func (s *session) conclude(db DB, err error) (again bool, _ error) {
	err = nameLimit(s.ctx, ErrAttemptTimeout, err)
	rolledBack, conn := s.result.outcome == OutcomeRolledBack, connOf(db)
	switch {
	case rolledBack && s.call.Err() == nil && s.again(err) &&
		(conn == nil || !conn.IsClosed()): // a single connection that is closed stays closed
		if err = s.withCause(err); s.isOverdue(err) {
			s.endBackend(s.call, db)
		}
		return true, err
	case rolledBack && errors.Is(err, ErrRollback):
		return false, nil
	}
	return false, err
}

// again reports whether another attempt follows one that was rolled back with err.
func (s *session) again(err error) bool {
	retryable, ask := s.worthRepeating(err), s.opts.RetryIf
	if ask == nil || errors.As(err, new(*CommitUnknownError)) || errors.As(err, new(*HookError)) {
		return retryable
	}
	return ask(err, retryable)
}

// withCause adds what made the transaction fail to an error that is only a consequence of it.
func (s *session) withCause(err error) error {
	cause := cmp.Or(s.cause, s.conflict)
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w, and then: %w", cause, err)
}

// isOverdue reports whether err says that the attempt took too long, and not the call.
func (s *session) isOverdue(err error) bool { return exceeds(s.ctx, ErrAttemptTimeout, err) }

// callLastHooks calls the hooks that wait for the end of the transaction. a is the last attempt,
// and err the error of the whole.
func (a *attempt) callLastHooks(err error) error {
	switch a.result.outcome {
	case OutcomeCommitted:
		if failed := a.callAfter(afterCommit); failed != nil {
			return &HookError{Err: failed}
		}
	case OutcomeRolledBack:
		if failed := a.callAfter(afterRollback); failed != nil {
			failed = fmt.Errorf("after rollback: %w", failed)
			if err == nil {
				return failed
			}
			return errors.Join(err, failed)
		}
	case OutcomeReleased, OutcomeUnknown:
	}
	return err
}

// next says what follows an attempt.
type next int

const (
	nextNone    next = iota
	nextAttempt      // after a wait
	nextAtOnce       // the attempt does not count: all connections of a pool may have stale statements
)

// repeat calls attempt until it succeeds, fails for good, or has been called often enough.
func repeat(ctx context.Context, opts Options, attempt func(number int) (next, error)) error {
	limit := opts.maxAttempts()
	var backoff retry.Backoff // made before the first wait: most transactions need none
	var last error            // the error of the previous attempt
	for number, counted := 1, 0; ; number++ {
		next, err := attempt(number)
		if last != nil && endedBy(ctx, err) {
			// Report the database error too, not only that ctx ended.
			return &RetryError{Attempts: number, Err: last, Ended: err}
		}
		if next == nextNone || limit == 1 {
			return err
		}
		if next == nextAtOnce {
			last = err
			continue
		}
		if counted++; counted >= limit {
			return &RetryError{Attempts: number, Err: err}
		}
		if backoff == nil {
			backoff = opts.newBackoff()
		}
		switch more, ended := pause(ctx, backoff); {
		case ended != nil:
			return &RetryError{Attempts: number, Err: err, Ended: ended}
		case !more:
			return &RetryError{Attempts: number, Err: err}
		}
		last = err
	}
}

// endedBy reports whether err is only the end of ctx.
func endedBy(ctx context.Context, err error) bool {
	if errors.As(err, new(*CommitUnknownError)) {
		return false
	}
	return ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx)))
}

const (
	// retryBase is the longest first wait; each further one may be twice as long. Two transactions
	// that met on the same rows need about the length of one to separate: some milliseconds.
	retryBase = 25 * time.Millisecond
	// retryCap limits one wait, for a MaxAttempts that is meant to outlast a restart of the server.
	retryCap = time.Second
)

// newBackoff makes the waits of one call.
func (o Options) newBackoff() retry.Backoff {
	if o.Backoff != nil {
		return o.Backoff()
	}
	return defaultBackoff()
}

// defaultBackoff is exponential with full jitter, so that callers do not repeat in lockstep.
// go-retry panics on a base or cap of 0, which the constants rule out.
func defaultBackoff() retry.Backoff {
	return retry.WithFullJitter(retry.WithCappedDuration(retryCap, retry.NewExponential(retryBase)))
}

// pause waits for the next attempt and reports whether there is one. It returns an error if ctx
// ends first, without waiting if that is certain.
//
// It does not use go-retry's own loop, which drops the database's error when ctx ends, and obeys an
// error that fn marked with retry.RetryableError.
func pause(ctx context.Context, backoff retry.Backoff) (more bool, err error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	wait, stop := backoff.Next()
	if stop {
		return false, nil
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		return false, fmt.Errorf("no time for another attempt: %w", context.DeadlineExceeded)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false, context.Cause(ctx)
	case <-timer.C:
		return true, nil
	}
}
