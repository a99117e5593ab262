package pgtx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var (
	_ pgx.Tx = (*tx)(nil)
	_ pgx.Tx = (*savepoint)(nil)
)

// tx is the handle of a function or a savepoint.
type tx struct {
	session   *session
	parent    *tx
	name      string // Options.Name
	savepoint string // its name, or "" for the outermost function and a joined one
	manual    bool   // opened by Begin, not by Run
	closed    atomic.Bool
}

// ended reports whether the function that was given t, or one around it, has returned.
func (t *tx) ended() bool {
	for at := t; at != nil; at = at.parent {
		if at.closed.Load() {
			return true
		}
	}
	return t.session.gate.isShut()
}

// closedError is the error of a handle that has ended: pgx's for a savepoint of Begin, ErrTxClosed
// for a function.
func (t *tx) closedError() error {
	for ; t != nil && t.manual; t = t.parent {
		if t.closed.Load() {
			return pgx.ErrTxClosed
		}
	}
	return ErrTxClosed
}

// function returns the handle of the function in which t was opened: t itself unless Begin made it.
func (t *tx) function() *tx {
	for t.manual {
		t = t.parent
	}
	return t
}

// scope returns the handle of the innermost savepoint around t, t included, or of the outermost
// function.
func (t *tx) scope() *tx {
	for t.savepoint == "" && t.parent != nil {
		t = t.parent
	}
	return t
}

// isInside reports whether t is outer or opened inside it.
func (t *tx) isInside(outer *tx) bool {
	for ; t != nil; t = t.parent {
		if t == outer {
			return true
		}
	}
	return false
}

// enter takes the session's gate for one call, for as long as the handle's function runs.
func (t *tx) enter() error {
	if t.ended() {
		return t.closedError()
	}
	s := t.session
	if err := s.gate.enter(); err != nil {
		return err
	}
	if err := s.refusal(t); err != nil {
		s.gate.leave()
		return err
	}
	return nil
}

// Begin opens a savepoint, which its caller ends by Commit or Rollback. One that is left open ends
// with what is around it.
func (t *tx) Begin(ctx context.Context) (pgx.Tx, error) {
	if err := t.enter(); err != nil {
		return nil, err
	}
	defer t.session.gate.leave()
	p, err := t.setSavepoint(ctx)
	if err != nil {
		return nil, err
	}
	p.manual = true
	return p, nil
}

// Commit returns ErrManaged, or ErrTxClosed after the function has returned.
func (t *tx) Commit(context.Context) error { return t.managed() }

// Rollback returns ErrManaged, or ErrTxClosed after the function has returned.
func (t *tx) Rollback(context.Context) error { return t.managed() }

func (t *tx) managed() error {
	if t.ended() {
		return ErrTxClosed
	}
	return ErrManaged
}

func (t *tx) Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error) {
	if err := t.enter(); err != nil {
		return pgconn.CommandTag{}, err
	}
	defer t.session.gate.leave()
	return t.session.exec(ctx, sql, arguments)
}

func (t *tx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	r := &rows{}
	if err := t.query(ctx, r, sql, args); err != nil {
		return r.Rows, err
	}
	return r, nil
}

func (t *tx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	r := &row{}
	if err := t.query(ctx, &r.rows, sql, args); err != nil {
		return errRow{err: err}
	}
	return r
}

// query fills r with the rows of a query, which keep the gate.
func (t *tx) query(ctx context.Context, r *rows, sql string, args []any) error {
	r.Rows = errRows{err: ErrTxClosed}
	if err := t.enter(); err != nil {
		r.Rows = errRows{err: err}
		return err
	}
	s := t.session
	held := false
	defer func() {
		if !held {
			s.gate.leave()
		}
	}()
	inner, riding, err := s.query(ctx, sql, args)
	r.Rows = inner
	if _, failed := inner.(errRows); err != nil || failed {
		r.done = true // there is nothing to be closed
		return err
	}
	r.session, r.sql, r.riding, r.partly = s, sql, riding, !riding && s.isSimple(args)
	held = true
	s.gate.hold() // from here on another goroutine may use the session
	return nil
}

func (t *tx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if err := t.enter(); err != nil {
		return pgx.FailedBatchResults(b, err)
	}
	if begins(b) {
		t.session.gate.leave()
		return pgx.FailedBatchResults(b, errors.New("Batch.BeginTx cannot be used within a transaction"))
	}
	results, err := t.session.sendBatch(ctx, b, copyOf(b))
	if err != nil {
		return pgx.FailedBatchResults(b, err)
	}
	return results
}

// sendBatch sends a copy of b, whose queries it fills with what belongs to the connection. The
// caller has the gate, which the results keep.
func (s *session) sendBatch(ctx context.Context, b, sent *pgx.Batch) (*batchResults, error) {
	held := false
	defer func() {
		if !held {
			s.gate.leave()
		}
	}()
	if err := s.ensureBegun(); err != nil {
		return nil, err
	}
	inner := s.queries().SendBatch(ctx, sent)
	held = true
	s.gate.hold()
	return &batchResults{inner: inner, session: s, batch: b}, nil
}

// CopyFrom also ends when ctx does while the source is slow: its next row is not asked for.
func (t *tx) CopyFrom(
	ctx context.Context, table pgx.Identifier, columns []string, source pgx.CopyFromSource,
) (int64, error) {
	if err := t.enter(); err != nil {
		return 0, err
	}
	defer t.session.gate.leave()
	if err := t.session.ensureBegun(); err != nil {
		return 0, err
	}
	n, err := t.session.queries().CopyFrom(ctx, table, columns, &endingSource{CopyFromSource: source, ctx: ctx})
	t.session.observe(err)
	return n, err
}

// endingSource has no more rows after the end of ctx. pgx looks at ctx only when its buffer is
// full.
type endingSource struct {
	pgx.CopyFromSource
	ctx context.Context
}

func (s *endingSource) Next() bool { return s.ctx.Err() == nil && s.CopyFromSource.Next() }

func (s *endingSource) Err() error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return s.CopyFromSource.Err()
}

func (t *tx) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	if err := t.enter(); err != nil {
		return nil, err
	}
	defer t.session.gate.leave()
	if err := t.session.ensureBegun(); err != nil {
		return nil, err
	}
	s := t.session
	description, err := s.queries().Prepare(ctx, name, sql)
	if s.observe(err); err == nil {
		if s.prepared == nil {
			s.prepared = map[string]string{}
		}
		s.prepared[name] = sql
	}
	return description, err
}

// LargeObjects returns the transaction's large objects. Its calls bypass ErrTxInUse. A transaction
// that has not begun begins, on Run's ctx; if that fails, every use of them is pgx.ErrTxClosed, as
// after the function has returned, and the failure is Run's result.
func (t *tx) LargeObjects() pgx.LargeObjects {
	s := t.session
	if t.enter() != nil {
		return closedLargeObjects()
	}
	defer s.gate.leave()
	if s.ensureBegun() != nil {
		return closedLargeObjects()
	}
	if s.raw != nil {
		return s.raw.LargeObjects()
	}
	if s.large == nil {
		// An empty statement in BEGIN's place makes pgx take the connection as it is. The one in
		// COMMIT's place closes the large objects when the transaction is over.
		ctx, cancel := context.WithTimeout(s.ctx, cleanupLimit)
		defer cancel()
		large, err := s.conn.BeginTx(ctx, pgx.TxOptions{BeginQuery: ";", CommitQuery: ";"})
		if err != nil {
			s.observe(err)
			return closedLargeObjects()
		}
		s.large = large
	}
	return s.large.LargeObjects()
}

// closedLargeObjects are those of a pgx.Tx that is closed: every use of them is pgx.ErrTxClosed.
// The zero value panics.
func closedLargeObjects() pgx.LargeObjects {
	var b pgx.Batch
	b.BeginTx(pgx.TxOptions{})
	return pgx.FailedBatchResults(&b, ErrTxClosed).Tx().LargeObjects()
}

// Conn returns the connection. What is done on it bypasses every check of this package. A
// transaction that has not begun begins, on Run's ctx; if that fails, the failure is Run's result,
// and Conn returns a closed connection.
func (t *tx) Conn() *pgx.Conn {
	s := t.session
	if s.raw != nil {
		return s.raw.Conn()
	}
	if t.enter() == nil {
		_ = s.ensureBegun()
		s.gate.leave()
	}
	s.mu.Lock()
	conn := s.socket
	s.mu.Unlock()
	if conn == nil || t.ended() {
		return closedConn()
	}
	return conn
}

// savepoint is a handle whose Commit and Rollback are its owner's: the caller of Begin, or nest.
type savepoint struct{ *tx }

// setSavepoint opens one below t. The caller holds the gate.
func (t *tx) setSavepoint(ctx context.Context) (*savepoint, error) {
	s := t.session
	if s.state == stateFailed {
		return nil, fmt.Errorf("savepoint: the transaction has already failed: %w", s.loss())
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("savepoint: %w", context.Cause(ctx))
	}
	s.savepoints++
	p := &tx{session: s, parent: t, name: t.name, savepoint: "pgtx_" + strconv.Itoa(s.savepoints)}
	if s.state == stateIdle {
		if err := s.begin("savepoint " + p.savepoint); err != nil {
			return nil, err
		}
	} else if err := s.control(ctx, "savepoint "+p.savepoint); err != nil {
		s.observe(err)
		return nil, fmt.Errorf("savepoint: %w", err)
	}
	s.open = append(s.open, p)
	return &savepoint{tx: p}, nil
}

// Commit releases the savepoint, and those that were set after it.
func (p *savepoint) Commit(ctx context.Context) error {
	return p.end(func() error {
		if doom := p.session.doom; doom != nil && p.session.doomed.isInside(p.tx) {
			return errors.Join(doom, p.undo(ctx))
		}
		return p.release(ctx)
	})
}

// Rollback undoes what was done since the savepoint and releases it, so that none is left open:
// thousands of open savepoints slow every statement of a transaction down.
func (p *savepoint) Rollback(ctx context.Context) error {
	return p.end(func() error { return p.undo(ctx) })
}

// end takes the gate. What dooms the inside of the savepoint does not keep it from ending.
func (p *savepoint) end(do func() error) error {
	if p.ended() {
		return p.closedError()
	}
	s := p.session
	if err := s.gate.enter(); err != nil {
		return err
	}
	defer s.gate.leave()
	if err := s.refusal(p.parent); err != nil {
		return err
	}
	return do()
}

// release and undo are called by the holder of the gate.
func (p *savepoint) release(ctx context.Context) error {
	start := time.Now()
	p.leaveStack()
	if err := p.session.control(ctx, "release savepoint "+p.savepoint); err != nil {
		p.session.observe(err)
		return phaseCommit.in(start, fmt.Errorf("release savepoint: %w", err))
	}
	return nil
}

func (p *savepoint) undo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	s := p.session
	p.leaveStack()
	// One simple query with two statements: one round trip.
	err := s.control(ctx, "rollback to savepoint "+p.savepoint+"; release savepoint "+p.savepoint)
	if err != nil && s.conn != nil && !s.conn.IsClosed() && s.conn.PgConn().TxStatus() != 'E' {
		kill(s.conn) // what could not be undone must not be committed with the rest
	}
	if s.observe(err); err != nil {
		return fmt.Errorf("rollback to savepoint: %w", err)
	}
	if s.conn == nil {
		s.cause = nil
	}
	s.undone(p.tx)
	s.dropHooksOf(p.tx)
	return nil
}

// leaveStack closes the savepoint and those that were set after it, which end with it.
func (p *savepoint) leaveStack() {
	s := p.session
	i := slices.Index(s.open, p.tx)
	if i < 0 {
		i = len(s.open)
	}
	for _, above := range s.open[i:] {
		above.closed.Store(true)
	}
	s.open = s.open[:i]
	p.closed.Store(true)
}
