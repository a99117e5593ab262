package pgtx

import (
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
	parent, handle := findHandle(ctx, key), handleOf(db)
	if handle != nil && (parent == nil || handle.ended() || handle.isInside(parent)) {
		parent = handle // if it has ended, a ctx that is still good must not hide the error
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
	case parent != nil && opts.Nesting == Join:
		return join(ctx, parent, opts, fn)
	case parent != nil:
		return nest(ctx, parent, opts, fn)
	}
	kind := opts.kind
	if kind == "" {
		kind = kindTransaction
	}
	w := opts.watch(ctx, kind)
	defer w.abandoned()
	var last *session
	err = repeat(ctx, opts, func(number int) (next step, err error) {
		w.start(number)
		limited, cancel := opts.limitAttempt(ctx)
		defer cancel()
		s := newSession(ctx, limited, key, opts, number)
		s.beginsAlone = last != nil && last.state == stateLost
		last = s
		w.in(s)
		if err = s.start(db, inside); err == nil {
			err = attempt(db, s, fn)
		}
		err = s.explain(err)
		// A single connection that is closed stays closed.
		again := err != nil && s.again(err) && !isClosedConn(db)
		if again {
			err = s.withCause(err)
		}
		if again && s.isOverdue(err) {
			s.endBackend(ctx, db)
		}
		if !again && s.outcome == OutcomeRolledBack && errors.Is(err, ErrRollback) {
			err = nil
		}
		w.endSession(err)
		switch {
		case !again:
			return stepStop, err
		case s.lease == nil && s.pool != nil && isStalePlan(s.cause):
			return stepNow, err // on a fresh connection
		}
		return stepWait, err
	})
	err = last.runLastHooks(ctx, err)
	w.finish(err)
	return err
}

// attempt runs fn once in the transaction of s. Afterwards s.outcome and s.worthRepeating tell how
// it went.
func attempt(db DB, s *session, fn func(context.Context, pgx.Tx) error) error {
	root := &s.root
	start := time.Now()
	if s.opts.IdempotencyKey != "" {
		replayed, err := s.claimKey()
		if replayed || err != nil {
			s.rollback()
			if replayed && err == nil {
				s.outcome = OutcomeCommitted // by another transaction
			}
			return phaseBegin.in(start, err)
		}
	}
	returned := false
	defer func() {
		// fn panicked or called Goexit. There is no recover, so that the panic keeps the stack it
		// came with.
		if !returned {
			s.rollback()
			_ = callAll(afterScope(s.call, root), s.takeHooks(afterRollback))
		}
	}()
	start = time.Now()
	err := fn(s.ctx, root)
	if err == nil {
		err = s.runBeforeCommit()
	}
	returned = true

	if err != nil {
		s.rollback()
		return err
	}
	err = s.commit(db)
	switch {
	case s.committing.IsZero():
		return phaseRun.in(start, err)
	case err == nil && s.callback != nil:
		return &HookError{Err: s.callback}
	}
	return phaseCommit.in(s.committing, err)
}

// again reports whether another attempt follows one that ended with err.
func (s *session) again(err error) bool {
	if s.outcome != OutcomeRolledBack || s.state == stateEnded || s.call.Err() != nil {
		return false
	}
	return s.opts.again(err, s.worthRepeating(err))
}

// withCause adds what made the transaction fail to an error that is only a consequence of it.
func (s *session) withCause(err error) error {
	cause := s.cause
	if cause == nil {
		cause = s.conflict
	}
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w, and then: %w", cause, err)
}

// again asks RetryIf, if there is one, about an attempt that was rolled back with err.
func (o Options) again(err error, retryable bool) bool {
	if o.RetryIf == nil || err == nil || errors.As(err, new(*CommitUnknownError)) || errors.As(err, new(*HookError)) {
		return retryable
	}
	return o.RetryIf(err, retryable)
}

// isOverdue reports whether err is that the attempt took too long, and not the call. An error of
// another kind, met when the time was already over, stands for itself.
func (s *session) isOverdue(err error) bool {
	return errors.Is(context.Cause(s.ctx), ErrAttemptTimeout) && errors.Is(err, context.DeadlineExceeded)
}

// explain says that it was the attempt's limit, of which pgx knows only that ctx ended.
func (s *session) explain(err error) error {
	if s.isOverdue(err) && !errors.Is(err, ErrAttemptTimeout) {
		return fmt.Errorf("%w: %w", ErrAttemptTimeout, err)
	}
	return err
}

// step is what follows an attempt.
type step int

const (
	stepStop step = iota
	stepWait      // another attempt
	stepNow       // another one at once, which does not count the first time
)

// repeat calls attempt until it succeeds, fails for good, or has been called often enough.
func repeat(ctx context.Context, opts Options, attempt func(number int) (next step, err error)) error {
	limit := opts.maxAttempts()
	free := limit > 1 || opts.kind == kindBatch // calls no function
	var backoff retry.Backoff                   // made on the first retry: most transactions need none
	var last error                              // of the attempt before
	for number := 1; ; number++ {
		next, err := attempt(number)
		if last != nil && endedBy(ctx, err) {
			// Report the database error too, not only that ctx ended.
			return &RetryError{Attempts: number, Err: last, Ended: err}
		}
		if free && next == stepNow && ctx.Err() == nil {
			free, last = false, err
			limit++
			continue
		}
		if err == nil || next == stepStop || limit == 1 {
			return err
		}
		if number >= limit {
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

// endedBy reports whether err is the end of ctx, and no more than that.
func endedBy(ctx context.Context, err error) bool {
	if errors.As(err, new(*CommitUnknownError)) {
		return false
	}
	return ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx)))
}

const (
	// retryBase is the upper end of the first wait, doubled for each further one. Two transactions
	// that have just met on the same rows need about the length of one to get out of each other's
	// way: some milliseconds.
	retryBase = 25 * time.Millisecond
	// retryCap limits one wait, for those who raise MaxAttempts to outlast a restart of the server.
	retryCap = time.Second
)

// newBackoff makes the waits of one call. The default is exponential with full jitter, so that
// callers do not repeat in lockstep. go-retry's WithJitter and NewExponential panic on 0, which the
// constants rule out.
func (o Options) newBackoff() retry.Backoff {
	if o.Backoff != nil {
		return o.Backoff()
	}
	return retry.WithFullJitter(retry.WithCappedDuration(retryCap, retry.NewExponential(retryBase)))
}

// pause waits for the next attempt and reports whether there is one. It returns an error if ctx
// ends first, and without waiting if it is bound to. go-retry's own loop is not used, for two
// reasons: it drops the database's error when ctx ends, and it takes an error that fn marked with
// retry.RetryableError for its own.
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
