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
)

// cleanupLimit is how long ROLLBACK may take, and COMMIT beyond the end of ctx. Both are answered at once by a server
// that answers at all; a few seconds tell it from one that does not.
const cleanupLimit = 5 * time.Second

// session is one database transaction and the connection it occupies, shared by the handles of all its scopes.
type session struct {
	key       any
	raw       transaction // nil until a lazy one begins
	txOptions pgx.TxOptions
	opts      Options
	attempt   int
	adopted   bool // begun elsewhere
	lazy

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
	unknown    bool // whether it committed
}

func (s *session) outermost() {
	s.root.session = s
	s.top = &s.root
}

type txBeginner interface {
	BeginTx(ctx context.Context, txOptions pgx.TxOptions) (pgx.Tx, error)
}

// begin starts a transaction on db, which is a pool or a connection. On a pool nothing happens yet, unless opts say so.
func begin(ctx context.Context, key any, db DB, opts Options, separate bool) (*session, error) {
	txOptions := opts.TxOptions
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := idle(connOf(db)); err != nil {
		return nil, err
	}
	if pool, ok := db.(acquirer); ok && (separate || !opts.Eager || opts.MaxWait > 0) {
		s := &session{key: key, txOptions: txOptions, opts: opts, lazy: lazy{pool: pool, ctx: ctx, separate: separate}}
		s.outermost()
		if opts.Eager && s.beginNow(ctx, "") != nil {
			s.giveBack()
			return nil, errors.Unwrap(s.failure) // the caller adds "begin" again
		}
		return s, nil
	}
	if preamble := opts.preamble(); len(preamble) > 1 {
		txOptions = pgx.TxOptions{BeginQuery: strings.Join(preamble, "; "), CommitQuery: txOptions.CommitQuery}
	}
	var raw pgx.Tx
	var err error
	if beginner, ok := db.(txBeginner); ok {
		raw, err = beginner.BeginTx(ctx, txOptions)
	} else if txOptions == (pgx.TxOptions{}) {
		raw, err = db.Begin(ctx)
	} else {
		err = fmt.Errorf("a db of type %T has no BeginTx, which TxOptions and time limits need", db)
	}
	if err != nil {
		return nil, err
	}
	s := &session{key: key, raw: raw, txOptions: opts.TxOptions, opts: opts, lazy: lazy{connected: raw.Conn()}}
	s.outermost()
	return s, nil
}

// idle returns an error if conn is in a transaction already, where BEGIN would only warn, and our COMMIT would then end a
// transaction that is not ours. conn is nil for a pool.
func idle(conn *pgx.Conn) error {
	if conn == nil || conn.IsClosed() || conn.PgConn().TxStatus() == 'I' {
		return nil
	}
	return errors.New("the connection is already in a transaction: pass its pgx.Tx, or the ctx its function was given")
}

// adopt makes a session of a transaction that somebody else begun. Its root scope stays open: nobody tells when it ends.
func adopt(key any, outer pgx.Tx) *tx {
	s := &session{key: key, raw: outer, attempt: 1, adopted: true, lazy: lazy{connected: outer.Conn()}}
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

// status is the transaction status the server reported last: 'T' in order, 'E' failed, 'I' ended. A pgx.Tx that knows
// no connection counts as in order. The caller is inside the gate, or has shut it.
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

// note keeps err if it is what made the transaction fail. An error that leaves it in order (no rows, a value that
// cannot be scanned) is the function's own business.
func (s *session) note(err error) {
	if err != nil && s.failed == nil && (s.closed() || s.status() == 'E') {
		s.failed = err
		if isConflict(err) {
			s.conflict = err
		}
	}
}

// interrupt makes a statement that another goroutine is in return, by taking its socket away. Closing a net.Conn is the
// only thing on a pgx connection that may be done from a second goroutine.
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

// rollback ends the transaction and gives the connection back. It reports whether the connection was lost before, and
// whether the transaction had been ended by a statement of the function. Its own failure has no consequence: pgx then
// closes the connection, and with it the server rolls back.
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
	lost = s.closed()
	ended = !lost && s.status() == 'I'
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	// Sent even if the connection is closed or busy: on a pool this call is what releases the connection.
	_ = s.raw.Rollback(ctx)
	return lost && !s.broken.Load(), ended
}
