package pgtx

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

var _ pgx.Tx = (*tx)(nil)

// tx is the handle of a function or a savepoint.
type tx struct {
	attempt   *attempt
	parent    *tx
	name      string // Options.Name
	savepoint string // its name, or "" for the outermost function and a joined one
	manual    bool   // opened by Begin, not by Run
	closed    atomic.Bool
}

// ended reports whether t has ended, or a function or savepoint around it.
func (t *tx) ended() bool {
	for at := t; at != nil; at = at.parent {
		if at.closed.Load() {
			return true
		}
	}
	return t.attempt.gate.isShut()
}

// closedError returns the error of a handle that has ended: pgx's for a savepoint of Begin,
// ErrTxClosed for a function.
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

// isInside reports whether t is outer or was opened inside it.
func (t *tx) isInside(outer *tx) bool {
	for ; t != nil; t = t.parent {
		if t == outer {
			return true
		}
	}
	return false
}

// enter calls fn with the session for one statement on t.
func (t *tx) enter(fn func(*session) error) error {
	if t.ended() {
		return t.closedError()
	}
	return t.attempt.gate.enter(func(s *session) error {
		if err := s.refusal(t); err != nil {
			return err
		}
		return fn(s)
	})
}

// Begin opens a savepoint, which its caller ends by Commit or Rollback. One that is left open ends
// with the function around it.
func (t *tx) Begin(ctx context.Context) (pgx.Tx, error) {
	p := &tx{attempt: t.attempt, parent: t, name: t.name, manual: true}
	if err := t.enter(func(s *session) error { return s.setSavepoint(ctx, p) }); err != nil {
		return nil, err
	}
	return p, nil
}

// Commit releases a savepoint of Begin, and those that were set after it. On the transaction of a
// function it returns ErrManaged, or ErrTxClosed after the function has returned.
func (t *tx) Commit(ctx context.Context) error {
	return t.endManual(func(s *session) error {
		if doom := s.doom; doom != nil && s.doomed.isInside(t) {
			return errors.Join(doom, s.undoSavepoint(ctx, t))
		}
		return s.releaseSavepoint(ctx, t)
	})
}

// Rollback undoes what was done since a savepoint of Begin. It also releases the savepoint, because
// thousands of open savepoints slow down every statement of a transaction. On the transaction of a
// function it returns ErrManaged, or ErrTxClosed after the function has returned.
func (t *tx) Rollback(ctx context.Context) error {
	return t.endManual(func(s *session) error { return s.undoSavepoint(ctx, t) })
}

// endManual calls end. A failure that dooms the inside of the savepoint does not keep it from
// ending.
func (t *tx) endManual(end func(*session) error) error {
	switch {
	case t.ended():
		return t.closedError()
	case !t.manual:
		return ErrManaged
	}
	return t.attempt.gate.enter(func(s *session) error {
		if err := s.refusal(t.parent); err != nil {
			return err
		}
		return end(s)
	})
}

func (t *tx) Exec(ctx context.Context, sql string, arguments ...any) (tag pgconn.CommandTag, err error) {
	err = t.enter(func(s *session) (err error) {
		tag, err = s.exec(ctx, sql, arguments)
		return err
	})
	return tag, err
}

func (t *tx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	r := &rows{}
	err := t.query(ctx, r, sql, args)
	return r, err
}

func (t *tx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	r := &row{}
	_ = t.query(ctx, &r.rows, sql, args) // Scan returns it
	return r
}

// query fills r with the rows of a query, or with its error.
func (t *tx) query(ctx context.Context, r *rows, sql string, args []any) error {
	err := t.enter(func(s *session) error { return s.query(ctx, r, sql, args) })
	if err != nil {
		r.fail(err)
	}
	return err
}

func (t *tx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	r := &batchResults{gate: &t.attempt.gate, batch: b}
	err := t.enter(func(s *session) error {
		if begins(b) {
			return errors.New("Batch.BeginTx cannot be used within a transaction")
		}
		if err := s.ensureBegun(); err != nil {
			return err
		}
		r.conn, r.inner = s.conn, s.queries().SendBatch(ctx, copyBatch(b))
		s.reading = true
		return nil
	})
	if err != nil {
		return pgx.FailedBatchResults(b, err)
	}
	return r
}

// CopyFrom also ends when ctx does while the source is slow: it does not ask for the next row.
func (t *tx) CopyFrom(
	ctx context.Context, table pgx.Identifier, columns []string, source pgx.CopyFromSource,
) (n int64, err error) {
	err = t.enter(func(s *session) error {
		if err := s.ensureBegun(); err != nil {
			return err
		}
		n, err = s.queries().CopyFrom(ctx, table, columns, &endingSource{CopyFromSource: source, ctx: ctx})
		s.observe(err)
		return err
	})
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

func (t *tx) Prepare(ctx context.Context, name, sql string) (d *pgconn.StatementDescription, err error) {
	err = t.enter(func(s *session) error {
		if err := s.ensureBegun(); err != nil {
			return err
		}
		d, err = s.queries().Prepare(ctx, name, sql)
		if s.observe(err); err == nil {
			s.addPrepared(name, sql)
		}
		return err
	})
	return d, err
}

// LargeObjects returns the transaction's large objects. Their calls bypass ErrTxInUse. A
// transaction that has not begun begins, on Run's ctx; if that fails, every use of them is
// pgx.ErrTxClosed, as after the function has returned, and the failure is Run's result.
func (t *tx) LargeObjects() pgx.LargeObjects {
	var from pgx.Tx
	err := t.enter(func(s *session) error {
		if from = s.outer; from != nil {
			return nil
		}
		if err := s.ensureBegun(); err != nil {
			return err
		}
		from = s.large
		if from != nil {
			return nil
		}
		// An empty statement in BEGIN's place makes pgx take the connection as it is. The one in
		// COMMIT's place closes the large objects when the transaction has ended.
		ctx, cancel := context.WithTimeout(s.ctx, cleanupLimit)
		defer cancel()
		large, err := s.conn.BeginTx(ctx, pgx.TxOptions{BeginQuery: ";", CommitQuery: ";"})
		if err != nil {
			s.observe(err)
			return err
		}
		s.large, from = large, large
		return nil
	})
	if err != nil {
		// A closed pgx.Tx has usable ones. The zero value of pgx.LargeObjects panics.
		var b pgx.Batch
		b.BeginTx(pgx.TxOptions{})
		from = pgx.FailedBatchResults(&b, ErrTxClosed).Tx()
	}
	return from.LargeObjects()
}

// Conn returns the connection. Statements on it bypass every check of this package. A transaction
// that has not begun begins, on Run's ctx; if that fails, the failure is Run's result, and Conn
// returns a closed connection.
func (t *tx) Conn() *pgx.Conn {
	_ = t.enter(func(s *session) error { return s.ensureBegun() })
	if conn := t.attempt.gate.wire.get(); conn != nil && !t.ended() {
		return conn
	}
	return closedConn()
}

// begins reports whether BeginTx was called on batch, which pgx keeps in an unexported field.
func begins(batch *pgx.Batch) bool {
	return pgx.FailedBatchResults(batch, pgx.ErrTxClosed).Tx() != nil
}

// copyBatch returns the batch as it was queued, without callbacks. Sending fills the queued queries
// with what belongs to one connection.
func copyBatch(batch *pgx.Batch) *pgx.Batch {
	fresh := &pgx.Batch{}
	for _, q := range batch.QueuedQueries {
		fresh.Queue(q.SQL, q.Arguments...)
	}
	return fresh
}

// closedConn returns a connection that is closed, for a caller that must be given one and can check
// no error. pgx makes connections only by connecting, so it connects to a peer in memory that
// greets it as a server does. It returns nil if the environment's PG variables cannot be parsed.
func closedConn() *pgx.Conn {
	config, err := pgx.ParseConfig("host=localhost user=nobody password=none dbname=none sslmode=disable")
	if err != nil {
		return nil
	}
	config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"localhost"}, nil }
	config.ValidateConnect, config.Fallbacks = nil, nil
	config.DialFunc = func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go greet(server)
		return client, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), cleanupLimit)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil
	}
	kill(conn)
	return conn
}

// greet answers a start-up message and reads until the peer closes.
func greet(server net.Conn) {
	defer server.Close()
	backend := pgproto3.NewBackend(server, server)
	if _, err := backend.ReceiveStartupMessage(); err != nil {
		return
	}
	backend.Send(&pgproto3.AuthenticationOk{})
	backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if backend.Flush() == nil {
		_, _ = backend.Receive() // a Terminate, or the end
	}
}
