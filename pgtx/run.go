package pgtx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgerr"
	"github.com/sethvargo/go-retry"
)

// Run calls fn in a transaction on db and commits if fn returns nil. If fn returns an error, panics
// or calls runtime.Goexit, the transaction is rolled back; the error is returned as it is, the
// panic goes on with its stack.
//
// fn may be called again. On a serialization failure (40001), a deadlock (40P01), a server that is
// shutting down or starting (57P01 to 57P03), too many connections (53300), a write refused as
// read-only (25006) where the transaction and the session are not read-only by choice, or a
// connection lost before COMMIT was sent, Run rolls back, waits (a random time up to 25 ms, doubled
// with every attempt, at most 1 s) and calls fn again, at most [DefaultMaxAttempts] times; after
// that the result is a [*RetryError] with the last error. fn must return the error it met, wrapped
// with %w: a text built with %s hides what happened. A result on a single *pgx.Conn or
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
// ctx applies to the acquire, BEGIN and whatever fn does with it. A ctx that is done when fn
// returns nil means rollback. COMMIT is not cut by ctx, for that would make its outcome unknowable:
// it has 5 s beyond the end of ctx, as ROLLBACK has.
//
// On a pool, the acquire and BEGIN wait for the first statement of fn and go with it in one flush;
// see [Options.Eager]. tx.Conn() and tx.LargeObjects() as the first call send BEGIN on ctx.
//
// Errors beside fn's own, each in a [*PhaseError]: "acquire: …" and "begin: …", which fn meets at
// its first statement; [*SwallowedError] if a statement failed and fn returned nil;
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
	ctx, cancel, explain := opts.within(ctx)
	defer cancel()
	return explain(run(ctx, db, opts, fn))
}

func run(ctx context.Context, db DB, opts Options, fn func(ctx context.Context, tx pgx.Tx) error) error {
	key, err := keyOf(db)
	if err != nil {
		return refused(fmt.Errorf("begin: %w", err))
	}
	parent, handle := innermost(ctx, key), handleOf(db)
	if handle != nil && (parent == nil || handle.ended()) {
		parent = handle // if ended, the error must not be hidden by a ctx that is still good
	}
	inside := parent != nil
	if inside {
		opts = opts.named(parent)
	}
	parent, db, err = opts.place(db, key, parent)
	switch {
	case err != nil:
		return refused(fmt.Errorf("begin: %w", err))
	case parent != nil && opts.Nesting == Join:
		return join(ctx, parent, opts, fn)
	case parent != nil:
		return nest(ctx, parent, opts, fn)
	}
	w := opts.watch(ctx, KindTransaction)
	defer w.abandoned()
	var root *tx // of the last attempt
	attempts := 0
	err = repeat(ctx, opts, func() (again bool, err error) {
		attempts++
		w.start(attempts)
		limited, cancel := opts.attemptWithin(ctx)
		defer cancel()
		s := newSession(ctx, limited, key, opts, attempts)
		w.in(s)
		if err = s.begin(db, inside); err != nil {
			// Nothing has run. A single connection that is closed stays so, however often it is
			// asked.
			again = !isClosedConn(db) && s.again(err, pgerr.Retryable(err))
		} else {
			root = s.top
			again, err = attempt(db, s, fn)
		}
		err = s.explain(err)
		again = again && !around(ctx, err)
		w.endSession(err)
		return again, err
	})
	if root != nil {
		err = root.conclude(ctx, err)
	}
	w.finish(err)
	return err
}

// named are o with the name and the observer of the function around it, unless it has its own.
func (o Options) named(parent *tx) Options {
	if o.Name == "" {
		o.Name = parent.name
	}
	if o.Observe == nil {
		o.Observe = parent.session.opts.Observe
	}
	return o
}

// repeat calls attempt until it succeeds, fails for good, or has been called often enough.
func repeat(ctx context.Context, opts Options, attempt func() (again bool, err error)) error {
	limit := opts.maxAttempts()
	var backoff retry.Backoff // made on the first retry: most transactions need none
	var last error            // of the attempt before
	for attempts := 1; ; attempts++ {
		again, err := attempt()
		if last != nil && endedBy(ctx, err) {
			// That ctx ended is the smaller half of the answer.
			return &RetryError{Attempts: attempts, Err: last, Ended: err}
		}
		if err == nil || !again || limit == 1 {
			return err
		}
		if attempts >= limit {
			return &RetryError{Attempts: attempts, Err: err}
		}
		if backoff == nil {
			backoff = newBackoff()
		}
		if ended := pause(ctx, backoff); ended != nil {
			return &RetryError{Attempts: attempts, Err: err, Ended: ended}
		}
		last = err
	}
}

// endedBy reports whether err is the end of ctx, and no more than that.
func endedBy(ctx context.Context, err error) bool {
	var unknown *CommitUnknownError
	if errors.As(err, &unknown) {
		return false
	}
	return ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx)))
}

// around reports whether err is the conflict of a transaction around this one, met by way of a Run
// on that one's database. Only that one's repetition can cure it, and a RetryError of ours would
// keep it from that.
func around(ctx context.Context, err error) bool {
	outer, _ := ctx.Value(scopeKey{}).(*scope)
	for ; outer != nil; outer = outer.outer {
		s := outer.tx.session
		if s.gate.enter() != nil {
			continue
		}
		theirs := s.conflict != nil && errors.Is(err, s.conflict)
		s.gate.leave()
		if theirs {
			return true
		}
	}
	return false
}

// attempt runs fn once in a transaction of its own and reports whether it may run again.
func attempt(db DB, s *session, fn func(context.Context, pgx.Tx) error) (again bool, err error) {
	root := s.top
	start := time.Now()
	if s.opts.IdempotencyKey != "" {
		if applied, err := s.claim(s.ctx); applied || err != nil {
			return s.unclaimed(s.ctx, applied, PhaseBegin.in(start, err))
		}
	}
	returned := false
	defer func() {
		// fn panicked or called Goexit. There is no recover, so that the panic keeps the stack it
		// came with.
		if !returned {
			s.rollback(s.ctx)
			_ = callAll(context.WithoutCancel(s.call), root.takeHooks().afterRollback)
		}
	}()
	start = time.Now()
	if err = fn(s.ctx, root); err == nil {
		err = root.runBeforeCommit(s.ctx)
	}
	returned = true

	if err == nil {
		again, err = s.commit(s.ctx, db)
		if s.committing.IsZero() {
			return again, PhaseRun.in(start, err)
		}
		return again, PhaseCommit.in(s.committing, err)
	}
	lost, ended := s.rollback(s.ctx)
	return !ended && s.again(err, worthRepeating(err, lost)), err
}
