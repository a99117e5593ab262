package pgtx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Nesting says what a Run does inside the function of another on the same database, and without
// one.
type Nesting int

const (
	// Savepoint is the zero value: a savepoint inside, a transaction of its own outside.
	Savepoint Nesting = iota
	// Join runs the function in the transaction around it without a savepoint: if it fails, nothing
	// can be undone alone, so the whole rolls back, even if the outer function goes on. Its
	// MaxAttempts do not count. Outside it begins a transaction. On a pgx.Tx that was begun
	// elsewhere, whoever commits that has to look at the error.
	Join
	// Separate is a transaction of its own on a connection of its own also inside, which commits
	// and is repeated by itself, and whatever becomes of the one around it. It waits for locks of
	// the one around it until a limit of the server ends that. Inside it does not wait for a
	// connection of a full pool, which may be waiting for this very function: the result is
	// [ErrPoolFull].
	Separate
	// Required is Savepoint inside and [ErrNoTransaction] outside.
	Required
	// Forbidden is a transaction of its own outside and [ErrNested] inside.
	Forbidden
)

var (
	// ErrNoTransaction is returned where there has to be a transaction around the call and there is
	// none.
	ErrNoTransaction = errors.New("no transaction on this db: call it inside the function of a Run, with the ctx that function was given")

	// ErrNested is returned by a Run with Forbidden inside the function of another.
	ErrNested = errors.New("inside another transaction, which this one forbids")

	// ErrPoolFull is returned by a Run with Separate inside another if no connection of the pool is
	// free. Raise the pool's MaxConns above the number of outer functions that run at a time.
	ErrPoolFull = errors.New("separate transaction: no connection of the pool is free while the function around it holds one")
)

// separateWait bounds the acquire of a separate transaction beyond the look at the pool's counters:
// the connection they showed may be another's by now, or in the middle of a slow connect.
const separateWait = time.Second

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

// acquireSeparate takes a connection for a transaction inside another of the same pool.
func acquireSeparate(ctx context.Context, pool acquirer, limit time.Duration) (*pgxpool.Conn, error) {
	if counted, ok := pool.(interface{ Stat() *pgxpool.Stat }); ok {
		if stat := counted.Stat(); stat.IdleConns() == 0 && stat.TotalConns() >= stat.MaxConns() {
			return nil, fmt.Errorf("acquire: %w", ErrPoolFull)
		}
	}
	if limit > 0 && limit < separateWait {
		return acquireWithin(ctx, pool, limit)
	}
	limited, cancel := context.WithTimeout(ctx, separateWait)
	defer cancel()
	conn, err := pool.Acquire(limited)
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() == nil && limited.Err() != nil:
		err = fmt.Errorf("%w (within %v)", ErrPoolFull, separateWait)
	}
	return nil, inAcquire(err)
}

// join runs fn in parent's transaction, without a savepoint.
func join(ctx context.Context, parent *tx, opts Options, fn func(context.Context, pgx.Tx) error) error {
	if err := opts.compatible(parent.session.txOptions); err != nil {
		return refused(fmt.Errorf("begin: %w", err))
	}
	t, err := parent.joined()
	if err != nil {
		return refused(fmt.Errorf("begin: %w", err))
	}
	t.name = opts.Name
	w := opts.watch(ctx, KindJoined)
	defer w.abandoned()
	w.start(parent.session.attempt)
	returned := false
	defer func() {
		if !returned {
			_ = t.part(ctx, errNotReturned)
		}
	}()
	start := time.Now()
	err = fn(withScope(ctx, t), t)
	returned = true
	if err == nil {
		err = PhaseRun.in(start, t.part(ctx, nil))
	} else {
		err = t.part(ctx, err)
	}
	w.endNested(times{}, err)
	w.finish(err)
	return err
}

// joined makes a handle below t, which becomes the session's innermost.
func (t *tx) joined() (*tx, error) {
	if err := t.enter(); err != nil {
		return nil, err
	}
	s := t.session
	defer s.gate.leave()
	if s.top != t.function() {
		return nil, errNotInnermost
	}
	s.top = &tx{session: s, parent: t}
	return s.top, nil
}

// part ends a joined function that returned result, and returns what Run returns.
func (t *tx) part(ctx context.Context, result error) error {
	s := t.session
	t.closed.Store(true)
	if err := s.gate.enterOr(s.interrupt); err != nil {
		if result != nil {
			return result
		}
		return fmt.Errorf("end of the joined function: %w", err)
	}
	defer s.gate.leave()
	s.top = t.parent.function()
	switch {
	case result == nil && ctx.Err() != nil:
		result = fmt.Errorf("end of the joined function: %w", context.Cause(ctx))
	case result == nil && s.doomed != nil:
		return s.doomed
	case result == nil && s.status() == 'E':
		result = s.swallowed()
	case result == nil:
		t.handUp()
		return nil
	}
	if s.doomed == nil {
		s.doomed = result
	}
	return result
}
