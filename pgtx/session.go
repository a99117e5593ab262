package pgtx

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// cleanupLimit is how long ROLLBACK may take, and COMMIT beyond the end of ctx. Both are answered
// at once by a server that answers at all; a few seconds tell it from one that does not.
const cleanupLimit = 5 * time.Second

// session is one database transaction and the connection it occupies, shared by the handles of all
// its scopes.
type session struct {
	key       any
	raw       transaction // nil until a lazy one begins
	txOptions pgx.TxOptions
	opts      Options
	call      context.Context // of the Run, all attempts of which it covers; nil if adopted
	ctx       context.Context // of the outermost function
	attempt   int
	adopted   bool // begun elsewhere
	lazy
	verification

	gate gate
	root tx // the handle of the outermost function

	// The fields below belong to whoever is inside the gate.
	top        *tx    // the handle of the innermost function
	savepoints int    // how many were set, for their names
	unreleased string // the savepoint that is over and whose RELEASE rides with the next control statement
	failed     error  // the first failure since the transaction was last in order
	doomed     error  // a nested failure that only a repetition of the whole can cure
	conflict   error  // the last serialization failure or deadlock of its own, also if it was undone
	broken     atomic.Bool
	readsOnly  bool          // the session's transactions are read-only by default
	unknown    bool          // nobody can say whether it committed
	limit      time.Duration // the statement_timeout that was set last
	committing time.Time     // when COMMIT was sent
	times      times
}

func (s *session) outermost() {
	s.root.session = s
	s.top = &s.root
}

type txBeginner interface {
	BeginTx(ctx context.Context, txOptions pgx.TxOptions) (pgx.Tx, error)
}

// newSession is one attempt of the Run with the ctx call, and ctx that of the attempt.
func newSession(call, ctx context.Context, key any, opts Options, attempt int) *session {
	s := &session{key: key, txOptions: opts.TxOptions, opts: opts, attempt: attempt, call: call}
	s.outermost()
	s.root.name = opts.Name
	s.ctx = withScope(ctx, s.top)
	return s
}

// begin starts the transaction on db, which is a pool or a connection. On a pool nothing happens
// yet, unless the options say so.
func (s *session) begin(db DB, separate bool) error {
	if s.ctx.Err() != nil {
		return refused(fmt.Errorf("begin: %w", context.Cause(s.ctx)))
	}
	if err := idle(connOf(db)); err != nil {
		return refused(fmt.Errorf("begin: %w", err))
	}
	_, plain := db.(*pgxpool.Pool) // has no BeginTx of its own that would have to be called
	if pool, ok := db.(acquirer); ok && (separate || !s.opts.Eager || s.opts.AcquireTimeout > 0 || plain || s.opts.announced()) {
		s.pool, s.separate = pool, separate
		if s.opts.Eager && s.opts.IdempotencyKey == "" && s.beginNow(s.ctx, "") != nil {
			s.giveBack()
			return s.failure
		}
		return nil
	}
	start := time.Now()
	if conn := connOf(db); conn != nil && s.opts.announced() {
		s.connected = conn
		if s.opts.IdempotencyKey == "" && s.beginNow(s.ctx, "") != nil {
			return s.failure
		}
		return nil
	}
	raw, err := s.beginTx(db)
	s.times.begin = time.Since(start)
	if err != nil {
		return PhaseBegin.in(start, fmt.Errorf("begin: %w", err))
	}
	s.raw, s.connected = raw, raw.Conn()
	if s.opts.verifies() {
		if err := s.probe(s.ctx); err != nil {
			s.rollback(s.ctx)
			return PhaseBegin.in(start, fmt.Errorf("begin: %w", err))
		}
	}
	return nil
}

// beginTx lets db itself begin.
func (s *session) beginTx(db DB) (pgx.Tx, error) {
	txOptions := s.txOptions
	s.limit = s.opts.statementLimit(s.ctx)
	if preamble := s.opts.preamble(s.limit); len(preamble) > 1 {
		txOptions = pgx.TxOptions{BeginQuery: strings.Join(preamble, "; "), CommitQuery: txOptions.CommitQuery}
	}
	if beginner, ok := db.(txBeginner); ok {
		return beginner.BeginTx(s.ctx, txOptions)
	}
	if txOptions == (pgx.TxOptions{}) {
		return db.Begin(s.ctx)
	}
	return nil, fmt.Errorf("a db of type %T has no BeginTx, which TxOptions and time limits need", db)
}

// idle returns an error if conn is in a transaction already, where BEGIN would only warn, and our
// COMMIT would then end a transaction that is not ours. conn is nil for a pool.
func idle(conn *pgx.Conn) error {
	if conn == nil || conn.IsClosed() || conn.PgConn().TxStatus() == 'I' {
		return nil
	}
	return errors.New("the connection is already in a transaction: pass its pgx.Tx, or the ctx its function was given")
}

// adopt makes a session of a transaction that somebody else begun. Its root scope stays open:
// nobody tells when it ends.
func adopt(key any, outer pgx.Tx) *tx {
	s := &session{key: key, raw: outer, attempt: 1, adopted: true}
	s.connected = outer.Conn()
	s.outermost()
	return s.top
}

// connOf returns the connection behind a db that is one, and nil for a pool.
func connOf(db DB) *pgx.Conn {
	switch db := db.(type) {
	case *pgx.Conn:
		return db
	case interface{ Conn() *pgx.Conn }:
		return db.Conn()
	}
	return nil
}

func isClosedConn(db DB) bool {
	conn := connOf(db)
	return conn != nil && conn.IsClosed()
}

// status is the transaction status the server reported last: 'T' in order, 'E' failed, 'I' ended. A
// pgx.Tx that knows no connection counts as in order. The caller is inside the gate, or has shut
// it.
func (s *session) status() byte {
	if s.refused {
		return 'E'
	}
	if conn := s.conn(); conn != nil {
		return conn.PgConn().TxStatus()
	}
	return 'T'
}

// conn is the connection of a transaction that has begun, or nil.
func (s *session) conn() *pgx.Conn {
	if s.raw == nil {
		return nil
	}
	return s.raw.Conn()
}

func (s *session) closed() bool {
	conn := s.conn()
	return conn != nil && conn.IsClosed()
}

func (s *session) busy() bool {
	conn := s.conn()
	return conn != nil && conn.PgConn().IsBusy()
}

// lossCause is the error in which the loss of the connection showed.
func (s *session) lossCause() error {
	if s.failed != nil {
		return s.failed
	}
	return pgconn.ErrConnClosed
}

// note keeps err if it is what made the transaction fail. An error that leaves it in order (no
// rows, a value that cannot be scanned) is the function's own business.
func (s *session) note(err error) {
	if err != nil && s.failed == nil && (s.closed() || s.status() == 'E') {
		s.failed = err
		if isConflict(err) {
			s.conflict = err
		}
	}
}

// interrupt makes a statement that another goroutine is in return, by taking its socket away.
// Closing a net.Conn is the only thing on a pgx connection that may be done from a second
// goroutine.
func (s *session) interrupt() {
	s.broken.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abort = true
	switch {
	case s.connected != nil:
		_ = s.connected.PgConn().Conn().Close()
	case s.stop != nil:
		s.stop()
	}
}

// shut ends all use of the session's handles and reports whether nobody was using them.
func (s *session) shut() bool { return s.gate.shut(s.interrupt, cleanupLimit) }

// rollback ends the transaction and gives the connection back. It reports whether the connection
// was lost before, and whether the transaction had been ended by a statement of the function. Its
// own failure has no consequence: pgx then closes the connection, and with it the server rolls
// back.
func (s *session) rollback(ctx context.Context) (lost, ended bool) {
	s.shut()
	return s.abandon(ctx)
}

// abandon is rollback for a session that is already shut.
func (s *session) abandon(ctx context.Context) (lost, ended bool) {
	if s.raw == nil {
		s.giveBack()
		return s.failure != nil, false
	}
	start := time.Now()
	lost = s.closed()
	if conn := s.conn(); conn != nil { // as long as it is ours
		s.readsOnly = conn.PgConn().ParameterStatus("default_transaction_read_only") == "on"
	}
	// The status is that of before as long as rows of the flush that carried BEGIN are open.
	ended = !lost && !s.busy() && !s.broken.Load() && s.status() == 'I'
	s.unknown = ended // it has the outcome of a statement of the function's
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	// Sent even if the connection is closed or busy: on a pool this call is what releases the
	// connection.
	_ = s.raw.Rollback(ctx)
	s.times.commit = time.Since(start)
	return lost && !s.broken.Load(), ended
}
