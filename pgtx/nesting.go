package pgtx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// Nesting says what a Run does inside the function of another on the same database, and what it
// does outside.
type Nesting int

const (
	// Savepoint is the zero value: a savepoint inside, a transaction of its own outside.
	Savepoint Nesting = iota
	// Join runs the function in the transaction around it, without a savepoint. If it fails, it
	// cannot be undone alone: everything up to the savepoint around it, or the whole, rolls back,
	// even if the outer function goes on. Outside it begins a transaction. On a pgx.Tx that was
	// begun elsewhere, the code that commits has to look at the error.
	Join
	// Separate begins a transaction of its own on a connection of its own, inside as well. It
	// commits and is repeated by itself, whatever happens to the transaction around it. If it needs
	// a lock of that one, it waits until a limit of the server ends the wait. Inside it does not
	// wait for a connection of a full pool, because that may be waiting for this very function: the
	// error is [ErrPoolFull].
	Separate
	// Required is Savepoint inside and [ErrNoTransaction] outside.
	Required
	// Forbidden is a transaction of its own outside and [ErrNested] inside.
	Forbidden
)

var (
	// ErrNoTransaction is returned by a call that needs a transaction around it.
	ErrNoTransaction = errors.New("no transaction on this db: call it inside the function of a Run, " +
		"with the ctx that function was given")

	// ErrNested is returned by a Run with Forbidden inside the function of another.
	ErrNested = errors.New("inside another transaction, which this one forbids")

	// ErrPoolFull is returned by a Run with Separate inside another if no connection of the pool is
	// free. Raise the pool's MaxConns above the number of outer functions that run at a time.
	ErrPoolFull = errors.New("separate transaction: no connection of the pool is free " +
		"while the function around it holds one")
)

var (
	errNotReturned  = errors.New("the function did not return: it panicked or called runtime.Goexit")
	errNotInnermost = fmt.Errorf("%w: a nested Run is still open on it; "+
		"pass the ctx that its function was given", ErrTxInUse)
)

// place applies o.Nesting: it returns the transaction in which to nest, or nil to begin one on the
// returned db.
func (o Options) place(db DB, key any, parent *tx) (*tx, DB, error) {
	outer, foreign := db.(pgx.Tx)
	inside := parent != nil || foreign
	switch o.Nesting {
	case Savepoint, Join:
	case Required:
		if !inside {
			return nil, db, ErrNoTransaction
		}
	case Forbidden:
		if inside {
			return nil, db, ErrNested
		}
	case Separate:
		own, ok := key.(DB)
		if _, isTx := key.(pgx.Tx); isTx || !ok {
			return nil, db, errors.New("separate transaction: a pgx.Tx has only one connection: pass the pool")
		}
		return nil, own, nil
	default:
		return nil, db, fmt.Errorf("nesting %d does not exist", o.Nesting)
	}
	var err error
	if parent == nil && foreign {
		parent, err = adopt(key, outer)
	}
	return parent, db, err
}

// nest runs fn inside parent's function: in a savepoint, or with Join without one.
func nest(ctx context.Context, parent *tx, opts Options, fn func(context.Context, pgx.Tx) error) error {
	if err := opts.compatible(parent.attempt.opts.TxOptions); err != nil {
		return refused(fmt.Errorf("begin: %w", err))
	}
	kind := kindSavepoint
	if opts.Nesting == Join {
		kind = kindJoined
	}
	r := &result{outcome: OutcomeRolledBack}
	w := opts.watch(ctx, kind)
	defer w.abandoned()
	w.start(parent.attempt.number, r)
	start := time.Now()
	t := &tx{attempt: parent.attempt, parent: parent, name: opts.Name}
	err := parent.enter(func(s *session) error { return s.openNested(ctx, t, opts.Nesting == Join) })
	began := time.Now()
	r.times.begin = began.Sub(start)
	if err != nil {
		err = opts.nameTimeout(ctx, phaseBegin.in(start, fmt.Errorf("begin: %w", err)))
		w.end(err)
		w.finish(err)
		return err
	}

	returned := false
	defer func() {
		if !returned { // a panic or Goexit
			_ = t.finishNested(ctx, errNotReturned)
		}
	}()
	err = fn(withScope(ctx, t), t)
	returned = true
	finishing := time.Now()
	if err != nil {
		err = t.finishNested(ctx, err)
	} else if err = phaseRun.in(began, t.finishNested(ctx, nil)); err == nil {
		r.outcome = OutcomeReleased
	}
	r.times.commit = time.Since(finishing)
	err = opts.nameTimeout(ctx, err)
	w.end(err)
	if t.savepoint != "" && errors.Is(err, ErrRollback) {
		err = nil // it was undone
	}
	w.finish(err)
	return err
}

// openNested opens t, which becomes the innermost function.
func (s *session) openNested(ctx context.Context, t *tx, joined bool) error {
	if s.innermost != t.parent.function() {
		// Savepoints end in the reverse of the order in which they began. Two functions side by
		// side cannot do that.
		return errNotInnermost
	}
	if !joined {
		if err := s.setSavepoint(ctx, t); err != nil {
			return err
		}
	}
	s.innermost = t
	return nil
}

// finishNested ends a nested function that returned result, and returns what Run returns.
func (t *tx) finishNested(ctx context.Context, result error) error {
	t.closed.Store(true)
	joined, operation := t.savepoint == "", "release savepoint"
	if joined {
		operation = "end of the joined function"
	}
	entered := false
	err := t.attempt.gate.enterLast(func(s *session) error {
		entered = true
		s.innermost = t.parent.function()
		s.observe(nil) // tx.Conn() bypasses the handles
		conflict := s.conflictIn(result)
		if result = s.judgeNested(ctx, t, operation, result); result == nil && !joined {
			return s.releaseSavepoint(ctx, t)
		}
		switch {
		case result == nil || s.state == stateEnded:
		case joined:
			s.doomBy(t.parent.scope(), result)
		default:
			result = s.undoNested(ctx, t, result, conflict)
		}
		return result
	})
	if entered {
		return err
	}
	t.attempt.hooks.dropInside(t)
	return cmp.Or(result, fmt.Errorf("%s: %w", operation, err))
}

// judgeNested returns result, or why a function that returned nil has failed.
func (s *session) judgeNested(ctx context.Context, t *tx, operation string, result error) error {
	switch {
	case result != nil:
		return result
	case s.state == stateEnded:
		return fmt.Errorf("%s: %w", operation, ErrEnded)
	case ctx.Err() != nil: // perhaps the limit of the nested Run only: the outer function may go on
		return fmt.Errorf("%s: rolled back: %w", operation, context.Cause(ctx))
	case s.doom != nil && (t.savepoint != "" || t.isInside(s.doomed)):
		return s.doom
	case s.state == stateLost:
		return fmt.Errorf("%s: the connection was lost: %w", operation, s.loss())
	case s.state == stateFailed:
		return s.failure()
	}
	return nil
}

// conflictIn returns the conflict that a nested function met and that result comes from, or nil.
func (s *session) conflictIn(result error) error {
	switch {
	case s.state == stateFailed && isConflict(s.cause):
		return s.cause
	case s.conflict != nil && errors.Is(result, s.conflict):
		return s.conflict
	}
	return nil
}

// undoNested undoes a nested function that failed with result.
func (s *session) undoNested(ctx context.Context, t *tx, result, conflict error) error {
	if s.isOpen() {
		// If this fails, the transaction can only be rolled back. The outer function and COMMIT
		// meet that.
		if err := s.undoSavepoint(ctx, t); err != nil && s.state != stateLost {
			result = fmt.Errorf("%w, and then: %w", result, err)
		}
	}
	if conflict != nil {
		// Undoing the savepoint does not take back the snapshot and locks of the whole. Only the
		// outermost Run can repeat everything, and it must, even if the outer function goes on.
		doom := result
		if !errors.Is(result, conflict) {
			doom = fmt.Errorf("%w, and then: %w", conflict, result)
		}
		s.doomBy(&s.root, doom)
	}
	return result
}

// setSavepoint sets the savepoint of p.
func (s *session) setSavepoint(ctx context.Context, p *tx) error {
	if s.state == stateFailed {
		return fmt.Errorf("savepoint: the transaction has already failed: %w", s.loss())
	}
	if ctx.Err() != nil {
		return fmt.Errorf("savepoint: %w", context.Cause(ctx))
	}
	s.count++
	p.savepoint = "pgtx_" + strconv.Itoa(s.count)
	if s.state == stateIdle {
		if err := s.begin("savepoint " + p.savepoint); err != nil {
			return err
		}
	} else if err := s.control(ctx, "savepoint "+p.savepoint); err != nil {
		s.observe(err)
		return fmt.Errorf("savepoint: %w", err)
	}
	s.open = append(s.open, p)
	return nil
}

// releaseSavepoint ends the savepoint of p and keeps what was done in it.
func (s *session) releaseSavepoint(ctx context.Context, p *tx) error {
	start := time.Now()
	s.closeFrom(p)
	if err := s.control(ctx, "release savepoint "+p.savepoint); err != nil {
		s.observe(err)
		return phaseCommit.in(start, fmt.Errorf("release savepoint: %w", err))
	}
	return nil
}

// undoSavepoint undoes what was done since the savepoint of p, and releases it.
func (s *session) undoSavepoint(ctx context.Context, p *tx) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	s.closeFrom(p)
	// A simple query of two statements takes one round trip.
	err := s.control(ctx, "rollback to savepoint "+p.savepoint+"; release savepoint "+p.savepoint)
	if err != nil && !s.conn.IsClosed() && s.conn.PgConn().TxStatus() != 'E' {
		kill(s.conn) // what could not be undone must not be committed with the rest
	}
	if s.observe(err); err != nil {
		return fmt.Errorf("rollback to savepoint: %w", err)
	}
	s.undone(p)
	s.hooks.dropInside(p)
	return nil
}

// closeFrom closes the savepoint of p and those that were set after it, which end with it.
func (s *session) closeFrom(p *tx) {
	p.closed.Store(true)
	if i := slices.Index(s.open, p); i >= 0 {
		for _, above := range s.open[i:] {
			above.closed.Store(true)
		}
		s.open = s.open[:i]
	}
}
