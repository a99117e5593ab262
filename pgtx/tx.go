package pgtx

import (
	"context"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var _ pgx.Tx = (*tx)(nil)

// tx is the handle a function is given: one scope of a session.
type tx struct {
	session *session
	parent  *tx
	name    string // Options.Name
	manual  bool   // opened by Begin, not by Run
	closed  atomic.Bool
	hooks   hooks // under the session's mu
}

// ended reports whether the function that was given t, or one around it, has returned.
func (t *tx) ended() bool {
	for scope := t; scope != nil; scope = scope.parent {
		if scope.closed.Load() {
			return true
		}
	}
	return t.session.gate.isShut()
}

// function returns the handle of the function in which t was opened: t itself unless Begin made it.
func (t *tx) function() *tx {
	for t.manual {
		t = t.parent
	}
	return t
}

// enter takes the session's gate for one call, for as long as the handle's function runs.
func (t *tx) enter() error {
	if t.ended() {
		return ErrTxClosed
	}
	s := t.session
	if err := s.gate.enter(); err != nil {
		return err
	}
	if s.failed != nil && !s.closed() && s.status() == 'T' {
		s.failed = nil // the function recovered from it, by a savepoint
	}
	err := s.doomed
	if err == nil {
		err = s.refusal()
	}
	if err != nil {
		s.gate.leave()
	}
	return err
}

// Begin opens a savepoint, which its caller ends by Commit or Rollback.
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
	tag, err := t.session.exec(ctx, sql, arguments)
	t.session.note(err)
	return tag, err
}

func (t *tx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := t.enter(); err != nil {
		return errRows{err: err}, err
	}
	held := false
	defer func() {
		if !held {
			t.session.gate.leave()
		}
	}()
	inner, first, err := t.session.query(ctx, sql, args)
	if err != nil {
		t.session.note(err)
		return inner, err
	}
	held = true
	t.session.gate.hold()
	return &rows{Rows: inner, session: t.session, first: first}, nil
}

func (t *tx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if err := t.enter(); err != nil {
		return errRow{err: err}
	}
	held := false
	defer func() {
		if !held {
			t.session.gate.leave()
		}
	}()
	inner, first := t.session.queryRow(ctx, sql, args)
	held = true
	t.session.gate.hold()
	return &row{inner: inner, session: t.session, first: first}
}

func (t *tx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if err := t.enter(); err != nil {
		return pgx.FailedBatchResults(b, err)
	}
	held := false
	defer func() {
		if !held {
			t.session.gate.leave()
		}
	}()
	inner, first := t.session.sendBatch(ctx, b)
	held = true
	t.session.gate.hold()
	return &batchResults{inner: inner, session: t.session, first: first}
}

func (t *tx) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, source pgx.CopyFromSource) (int64, error) {
	if err := t.enter(); err != nil {
		return 0, err
	}
	defer t.session.gate.leave()
	if err := t.session.begun(ctx); err != nil {
		return 0, err
	}
	n, err := t.session.raw.CopyFrom(ctx, table, columns, source)
	t.session.note(err)
	return n, err
}

func (t *tx) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	if err := t.enter(); err != nil {
		return nil, err
	}
	defer t.session.gate.leave()
	if err := t.session.begun(ctx); err != nil {
		return nil, err
	}
	statement, err := t.session.raw.Prepare(ctx, name, sql)
	t.session.note(err)
	return statement, err
}

// LargeObjects returns the transaction's large objects. Its calls bypass ErrTxInUse. A transaction
// that has not begun begins, on Run's ctx; if that fails, every use of them is pgx.ErrTxClosed, and
// the failure is Run's result.
func (t *tx) LargeObjects() pgx.LargeObjects {
	if t.session.pool != nil {
		if t.enter() != nil {
			return closedLargeObjects()
		}
		defer t.session.gate.leave()
		if t.session.begun(t.session.ctx) != nil {
			return closedLargeObjects()
		}
	}
	return t.session.raw.LargeObjects()
}

// Conn returns the connection. What is done on it bypasses every check of this package. A
// transaction that has not begun begins, on Run's ctx; if that fails, the failure is Run's result,
// and Conn returns nil unless there is a connection all the same.
func (t *tx) Conn() *pgx.Conn {
	s := t.session
	if s.pool != nil && t.enter() == nil {
		if s.begun(s.ctx) == nil && s.unreleased != "" {
			_ = s.flushRelease(s.ctx) // noted, if it fails
		}
		s.gate.leave()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connected
}
