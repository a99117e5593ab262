package pgtx

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var _ pgx.Tx = (*savepoint)(nil)

// savepoint is a handle whose Commit and Rollback are its owner's: the caller of Begin, or nest.
type savepoint struct {
	*tx
	name string
	top  *tx // the session's innermost function before, if this one's owner is nest
	// limit is the statement_timeout that a rollback to it brings back.
	limit time.Duration
}

// setSavepoint opens one below t. The caller is inside the gate.
func (t *tx) setSavepoint(ctx context.Context) (*savepoint, error) {
	s := t.session
	if s.failed != nil && !s.closed() {
		return nil, fmt.Errorf("savepoint: the transaction has already failed: %w", s.failed)
	}
	s.savepoints++
	name := "pgtx_" + strconv.Itoa(s.savepoints)
	if s.pending() {
		if err := s.beginNow(ctx, "; savepoint "+name); err != nil {
			return nil, err
		}
	} else {
		sql := "savepoint " + name
		if s.unreleased != "" {
			sql = "release savepoint " + s.unreleased + "; " + sql
			s.unreleased = ""
		}
		if renewal := s.renewal(); renewal != "" {
			sql = renewal + "; " + sql
		}
		if _, err := s.raw.Exec(ctx, sql); err != nil {
			s.note(err)
			return nil, fmt.Errorf("savepoint: %w", err)
		}
	}
	return &savepoint{tx: &tx{session: s, parent: t, name: t.name}, name: name, limit: s.limit}, nil
}

// Commit releases the savepoint.
func (p *savepoint) Commit(ctx context.Context) error {
	return p.end(func() error { return p.release(ctx) })
}

// Rollback undoes what was done since the savepoint and releases it, so that none is left open:
// thousands of open savepoints slow every statement of a transaction down.
func (p *savepoint) Rollback(ctx context.Context) error {
	return p.end(func() error { return p.undo(ctx) })
}

func (p *savepoint) end(do func() error) error {
	if err := p.enter(); err != nil {
		return err
	}
	defer p.session.gate.leave()
	p.closed.Store(true)
	return do()
}

// release and undo are called inside the gate.
//
// RELEASE changes nothing that the client could see while the transaction is in order: it rides
// with the next SAVEPOINT, and is left out before COMMIT or a rollback of what is around it. Nobody
// could send it after the end of an adopted transaction's function, and in a failed one its error
// is the answer.
func (p *savepoint) release(ctx context.Context) error {
	s := p.session
	s.unreleased = p.name
	if s.adopted || s.closed() || s.status() != 'T' {
		if err := s.flushRelease(ctx); err != nil {
			return err
		}
	}
	p.handUp()
	return nil
}

func (s *session) flushRelease(ctx context.Context) error {
	start, name := time.Now(), s.unreleased
	s.unreleased = ""
	_, err := s.raw.Exec(ctx, "release savepoint "+name)
	s.note(err)
	if err != nil {
		return PhaseCommit.in(start, fmt.Errorf("release savepoint: %w", err))
	}
	return nil
}

// releaseBefore sends an outstanding RELEASE before a statement that may handle savepoints itself:
// one it sets would be inside ours and vanish with it, and one it ends may be around ours.
func (s *session) releaseBefore(ctx context.Context, sql string) error {
	if s.unreleased == "" {
		return nil
	}
	sql = strings.ToLower(sql)
	if strings.Contains(sql, "savepoint") || strings.Contains(sql, "release") || strings.Contains(sql, "rollback") {
		return s.flushRelease(ctx)
	}
	return nil
}

func (p *savepoint) undo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	p.session.unreleased = "" // it is inside
	// One simple query with two statements: one round trip.
	_, err := p.session.raw.Exec(ctx, "rollback to savepoint "+p.name+"; release savepoint "+p.name)
	if err == nil {
		p.session.failed, p.session.limit = nil, p.limit
		return nil
	}
	// What could not be undone must not be committed with the rest.
	if conn := p.session.raw.Conn(); conn != nil {
		_ = conn.Close(ctx)
	}
	p.session.note(err)
	return fmt.Errorf("rollback to savepoint: %w", err)
}

// nest runs fn in a savepoint below parent.
func nest(ctx context.Context, parent *tx, opts Options, fn func(context.Context, pgx.Tx) error) error {
	if err := opts.compatible(parent.session.txOptions); err != nil {
		return refused(fmt.Errorf("begin: %w", err))
	}
	w := opts.watch(ctx, KindSavepoint)
	defer w.abandoned()
	w.start(parent.session.attempt)
	start := time.Now()
	p, err := parent.open(ctx)
	began := time.Now()
	if err != nil {
		err = PhaseBegin.in(start, fmt.Errorf("begin: %w", err))
		w.endNested(times{begin: began.Sub(start)}, err)
		w.finish(err)
		return err
	}
	p.tx.name = opts.Name

	returned := false
	defer func() {
		if !returned { // a panic or Goexit on its way through
			_ = p.finish(ctx, errNotReturned)
		}
	}()
	err = fn(withScope(ctx, p.tx), p.tx)
	returned = true
	finishing := time.Now()
	if err == nil {
		err = PhaseRun.in(began, p.finish(ctx, nil))
	} else {
		err = p.finish(ctx, err)
	}
	w.endNested(times{begin: began.Sub(start), commit: time.Since(finishing)}, err)
	w.finish(err)
	return err
}

var errNotInnermost = fmt.Errorf("%w: a nested Run is still open on it; pass the ctx that its function was given", ErrTxInUse)

// open sets the savepoint of a nested function, which becomes the session's innermost.
func (t *tx) open(ctx context.Context) (*savepoint, error) {
	if err := t.enter(); err != nil {
		return nil, err
	}
	s := t.session
	defer s.gate.leave()
	if s.top != t.function() {
		// Savepoints end in the reverse of the order in which they began; two functions side by
		// side cannot do that.
		return nil, errNotInnermost
	}
	p, err := t.setSavepoint(ctx)
	if err != nil {
		return nil, err
	}
	p.top, s.top = s.top, p.tx
	return p, nil
}

// finish ends the savepoint of a function that returned result, and returns what Run returns.
func (p *savepoint) finish(ctx context.Context, result error) error {
	s := p.session
	p.closed.Store(true)
	if err := s.gate.enterOr(s.interrupt); err != nil {
		// Rows are open or a goroutine is at work: nothing can be undone, so that nothing may be
		// committed. Nobody is waited for: the statement or the rows meet a closed socket.
		if result != nil {
			return result
		}
		return fmt.Errorf("release savepoint: %w", err)
	}
	defer s.gate.leave()
	s.top = p.top

	switch {
	case result != nil:
	case ctx.Err() != nil: // the limit of the nested Run alone, perhaps: then the outer function may go on
		result = fmt.Errorf("release savepoint: rolled back: %w", context.Cause(ctx))
	case s.doomed != nil:
		result = s.doomed
	case s.closed():
		result = fmt.Errorf("release savepoint: the connection was lost: %w", s.lossCause())
	case s.status() == 'E':
		result = s.swallowed()
	default:
		return p.release(ctx)
	}
	if !s.closed() {
		// Its failure closes the connection, which the outer function and COMMIT meet; the cause is
		// the better answer here.
		_ = p.undo(ctx)
	}
	s.doomed = s.fate(result)
	return result
}

// fate returns the error the whole transaction has to unwind with after a nested scope failed with
// err, or nil if the outer function may go on. After a serialization failure or a deadlock it may
// not: a savepoint cannot take the outer snapshot or locks back, only the outermost Run can repeat
// everything.
func (s *session) fate(err error) error {
	if s.doomed != nil {
		return s.doomed
	}
	if isConflict(err) {
		return err
	}
	return nil
}

// isConflict reports whether err is a serialization failure or a deadlock.
func isConflict(err error) bool {
	var pgError *pgconn.PgError
	return errors.As(err, &pgError) && (pgError.Code == "40001" || pgError.Code == "40P01")
}
