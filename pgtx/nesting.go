package pgtx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Nesting says what a Run does inside the function of another on the same database, and without
// one.
type Nesting int

const (
	// Savepoint is the zero value: a savepoint inside, a transaction of its own outside.
	Savepoint Nesting = iota
	// Join runs the function in the transaction around it without a savepoint: if it fails, nothing
	// can be undone alone, so everything up to the savepoint around it, or the whole, rolls back,
	// even if the outer function goes on. Outside it begins a transaction. On a pgx.Tx that was
	// begun elsewhere, the code that commits that has to look at the error.
	Join
	// Separate is a transaction of its own on a connection of its own also inside, which commits
	// and is repeated by itself, whatever becomes of the one around it. It waits for locks of the
	// one around it until a limit of the server ends that. Inside it does not wait for a connection
	// of a full pool, which may be waiting for this very function: the result is [ErrPoolFull].
	Separate
	// Required is Savepoint inside and [ErrNoTransaction] outside.
	Required
	// Forbidden is a transaction of its own outside and [ErrNested] inside.
	Forbidden
)

var (
	// ErrNoTransaction is returned where there has to be a transaction around the call and there is
	// none.
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

// place applies opts.Nesting: it returns the transaction in which to nest, or nil to begin one on
// db.
func (o Options) place(db DB, key any, parent *tx) (*tx, DB, error) {
	outer, foreign := db.(pgx.Tx)
	inside := parent != nil || foreign
	switch o.Nesting {
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
	case Savepoint, Join:
	default:
		return nil, db, fmt.Errorf("nesting %d does not exist", o.Nesting)
	}
	if parent == nil && foreign {
		parent = adopt(key, outer)
	}
	return parent, db, nil
}

// nest runs fn in a savepoint below parent.
func nest(ctx context.Context, parent *tx, opts Options, fn func(context.Context, pgx.Tx) error) error {
	if err := opts.compatible(parent.session.opts.TxOptions); err != nil {
		return refused(fmt.Errorf("begin: %w", err))
	}
	w := opts.watch(ctx, kindSavepoint)
	defer w.abandoned()
	w.start(parent.session.attempt)
	start := time.Now()
	p, err := parent.openSavepoint(ctx)
	began := time.Now()
	if err != nil {
		err = phaseBegin.in(start, fmt.Errorf("begin: %w", err))
		w.endNested(times{begin: began.Sub(start)}, err)
		w.finish(err)
		return err
	}
	p.name = opts.Name

	returned := false
	defer func() {
		if !returned { // a panic or Goexit on its way through
			_ = p.finish(ctx, errNotReturned)
		}
	}()
	err = fn(withScope(ctx, p.tx), p.tx)
	returned = true
	finishing := time.Now()
	result := p.finish(ctx, err)
	if err == nil {
		result = phaseRun.in(began, result)
	}
	w.endNested(times{begin: began.Sub(start), commit: time.Since(finishing)}, result)
	if errors.Is(err, ErrRollback) {
		result = nil // it was undone, as it asked for
	}
	w.finish(result)
	return result
}

// openSavepoint sets the savepoint of a nested function, which becomes the session's innermost.
func (t *tx) openSavepoint(ctx context.Context) (*savepoint, error) {
	if err := t.enter(); err != nil {
		return nil, err
	}
	s := t.session
	defer s.gate.leave()
	if s.innermost != t.function() {
		// Savepoints end in the reverse of the order in which they began; two functions side by
		// side cannot do that.
		return nil, errNotInnermost
	}
	p, err := t.setSavepoint(ctx)
	if err != nil {
		return nil, err
	}
	s.innermost = p.tx
	return p, nil
}

// finish ends the savepoint of a function that returned result, and returns what Run returns.
func (p *savepoint) finish(ctx context.Context, result error) error {
	s := p.session
	p.closed.Store(true)
	if err := s.gate.enterOr(s.interrupt); err != nil {
		// Rows are open or a goroutine is at work: nothing can be undone, so nothing may be
		// committed. There is no need to wait: the statement or the rows meet a closed socket.
		s.dropHooksOf(p.tx)
		if result != nil {
			return result
		}
		return fmt.Errorf("release savepoint: %w", err)
	}
	defer s.gate.leave()
	s.innermost = p.parent.function()
	s.observe(nil) // tx.Conn() bypasses the handles

	conflict := error(nil)
	switch {
	case s.state == stateFailed && isConflict(s.cause):
		conflict = s.cause
	case s.conflict != nil && errors.Is(result, s.conflict):
		conflict = s.conflict
	}
	switch {
	case s.state == stateEnded:
		return cmpError(result, fmt.Errorf("release savepoint: %w", ErrEnded))
	case result != nil:
	case ctx.Err() != nil: // the limit of the nested Run alone, perhaps: then the outer function may go on
		result = fmt.Errorf("release savepoint: rolled back: %w", context.Cause(ctx))
	case s.doom != nil:
		result = s.doom
	case s.state == stateLost:
		result = fmt.Errorf("release savepoint: the connection was lost: %w", s.loss())
	case s.state == stateFailed:
		result = s.failure()
	default:
		return p.release(ctx)
	}
	if s.isOpen() {
		// After a failure of undo the transaction can only be rolled back, which the outer function
		// and COMMIT meet.
		if err := p.undo(ctx); err != nil && s.state != stateLost {
			result = fmt.Errorf("%w, and then: %w", result, err)
		}
	}
	if conflict != nil {
		// A savepoint cannot take the outer snapshot or locks back: only the outermost Run can
		// repeat everything, and it must even if the outer function goes on.
		doom := result
		if !errors.Is(result, conflict) {
			doom = fmt.Errorf("%w, and then: %w", conflict, result)
		}
		s.doomBy(&s.root, doom)
	}
	return result
}

// cmpError returns the first of the two that is not nil.
func cmpError(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// join runs fn in parent's transaction, without a savepoint.
func join(ctx context.Context, parent *tx, opts Options, fn func(context.Context, pgx.Tx) error) error {
	if err := opts.compatible(parent.session.opts.TxOptions); err != nil {
		return refused(fmt.Errorf("begin: %w", err))
	}
	t, err := parent.openJoined()
	if err != nil {
		return refused(fmt.Errorf("begin: %w", err))
	}
	t.name = opts.Name
	w := opts.watch(ctx, kindJoined)
	defer w.abandoned()
	w.start(parent.session.attempt)
	returned := false
	defer func() {
		if !returned {
			_ = t.finishJoined(ctx, errNotReturned)
		}
	}()
	start := time.Now()
	err = fn(withScope(ctx, t), t)
	returned = true
	if err == nil {
		err = phaseRun.in(start, t.finishJoined(ctx, nil))
	} else {
		err = t.finishJoined(ctx, err)
	}
	w.endNested(times{}, err)
	w.finish(err)
	return err
}

// openJoined makes a handle below t, which becomes the session's innermost.
func (t *tx) openJoined() (*tx, error) {
	if err := t.enter(); err != nil {
		return nil, err
	}
	s := t.session
	defer s.gate.leave()
	if s.innermost != t.function() {
		return nil, errNotInnermost
	}
	s.innermost = &tx{session: s, parent: t}
	return s.innermost, nil
}

// finishJoined ends a joined function that returned result, and returns what Run returns.
func (t *tx) finishJoined(ctx context.Context, result error) error {
	s := t.session
	t.closed.Store(true)
	if err := s.gate.enterOr(s.interrupt); err != nil {
		if result != nil {
			return result
		}
		return fmt.Errorf("end of the joined function: %w", err)
	}
	defer s.gate.leave()
	s.innermost = t.parent.function()
	s.observe(nil) // tx.Conn() bypasses the handles
	switch {
	case result != nil:
	case ctx.Err() != nil:
		result = fmt.Errorf("end of the joined function: %w", context.Cause(ctx))
	case s.doom != nil && t.isInside(s.doomed):
		return s.doom
	case s.state == stateEnded:
		return fmt.Errorf("end of the joined function: %w", ErrEnded)
	case s.state == stateFailed:
		result = s.failure()
	default:
		return nil
	}
	s.doomBy(t.parent.scope(), result)
	return result
}
