package pgtx

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// cleanupLimit limits ROLLBACK, and COMMIT after the end of ctx. A live server answers both at
// once; a few seconds are enough to tell it from a dead one.
const cleanupLimit = 5 * time.Second

// attempt is one call of Run's function. The handles of the function and of its savepoints share
// it. Only the gate, the hooks and the result change while the function runs.
type attempt struct {
	key         any // identifies the database
	opts        Options
	call        context.Context // Run's, for all attempts
	ctx         context.Context // the function's
	number      int
	adopted     bool // the transaction was begun elsewhere, so its end cannot be seen
	beginsAlone bool // the attempt before lost its connection: BEGIN alone can always be sent again
	root        tx   // the handle of the function

	gate   gate
	hooks  hookList
	claim  claim  // the row of the idempotency key
	result result // for Run, after the end
}

// session is the transaction of an attempt and its connection. The gate guards it.
type session struct {
	*attempt
	condition
	verification

	pool     acquirer // nil on a connection
	separate bool     // inside another transaction of the same pool
	lease    *pgxpool.Conn
	conn     *pgx.Conn // nil until it is acquired, and after it was given back
	outer    pgx.Tx    // the transaction that was begun elsewhere
	large    pgx.Tx    // the transaction of LargeObjects

	innermost *tx   // the handle of the innermost function
	open      []*tx // the savepoints that are set, outermost first
	count     int   // of savepoints so far, for their names
	reading   bool  // rows or batch results are open
	first     firstStatement
	times     times
}

// queries are the statements that a connection and a pgx.Tx have in common.
type queries interface {
	Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
	CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, source pgx.CopyFromSource) (int64, error)
	Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error)
}

// newAttempt makes an attempt. call is the ctx of Run, and ctx the one of this attempt.
func newAttempt(call, ctx context.Context, key any, opts Options, number int) *attempt {
	a := &attempt{key: key, opts: opts, call: call, number: number}
	a.root = tx{attempt: a, name: opts.Name}
	a.gate.session = session{attempt: a, innermost: &a.root}
	a.ctx = withScope(ctx, &a.root)
	return a
}

// adopt returns a handle for a transaction that was begun elsewhere. It stays open, because nothing
// tells when that transaction ends.
func adopt(key any, outer pgx.Tx) (*tx, error) {
	conn := outer.Conn()
	if conn == nil {
		return nil, fmt.Errorf("a transaction of type %T has no Conn", outer)
	}
	a := &attempt{key: key, number: 1, adopted: true}
	a.root = tx{attempt: a}
	s := &a.gate.session
	*s = session{attempt: a, innermost: &a.root, outer: outer}
	s.begun()
	s.use(conn)
	if conn.PgConn().TxStatus() == 'E' {
		s.fail(stateFailed, nil)
	}
	return &a.root, nil
}

// start prepares the transaction on db. On a pool nothing is sent before the first statement,
// unless the options say so. An idempotency key's claim is such a statement.
func (s *session) start(db DB, separate bool) error {
	conn := connOf(db)
	pool, isPool := db.(acquirer)
	switch {
	case s.ctx.Err() != nil:
		return refused(fmt.Errorf("begin: %w", context.Cause(s.ctx)))
	case isPool:
		s.pool, s.separate = pool, separate
	case conn == nil:
		return refused(fmt.Errorf("begin: a db of type %T is no pool, connection or transaction of pgx", db))
	case !conn.IsClosed() && conn.PgConn().TxStatus() != 'I':
		// BEGIN would only warn, and our COMMIT would end a transaction that is not ours.
		return refused(errors.New("begin: the connection is already in a transaction: " +
			"pass its pgx.Tx, or the ctx its function was given"))
	default:
		s.use(conn)
	}
	if s.opts.IdempotencyKey != "" || isPool && !s.opts.Eager {
		return nil
	}
	return s.begin()
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

// queries returns where statements are sent.
func (s *session) queries() queries {
	if s.outer != nil {
		return s.outer
	}
	return s.conn
}

// use makes conn the session's connection, or none with nil.
func (s *session) use(conn *pgx.Conn) {
	if s.conn = conn; conn != nil {
		s.pid = conn.PgConn().PID()
	}
	s.gate.wire.set(conn, nil)
}

// giveBack returns the connection to its pool, which drops it if it is closed.
func (s *session) giveBack() {
	s.use(nil)
	if s.lease != nil {
		s.lease.Release()
		s.lease = nil
	}
}

// begin sends BEGIN, its limits and settings in one message, with more after them.
func (s *session) begin(more ...string) error {
	return s.onLiveConnection(func() (dead bool, err error) {
		start := time.Now()
		answered := 0
		_, err = s.sendSimple(s.ctx, joinSQL(append(s.prelude(), more...)), func(result *pgconn.ResultReader) {
			answered++
			s.readProbe(result)
		})
		s.times.begin += time.Since(start)
		if err == nil {
			s.begun()
			return false, nil
		}
		dead = s.conn.IsClosed() && answered == 0
		return dead, s.refuseBegin(start, err)
	})
}

func joinSQL(statements []string) string { return strings.Join(statements, "; ") }

// refuseBegin records that BEGIN, or a statement sent with it, failed. It leaves no transaction
// behind, and no connection on which tx.Conn() would commit each statement on its own.
func (s *session) refuseBegin(start time.Time, err error) error {
	conn := s.conn
	switch {
	case !errors.As(err, new(*pgconn.PgError)):
		kill(conn) // it may have begun
	case !conn.IsClosed() && conn.PgConn().TxStatus() != 'I':
		s.sendRollback()
	}
	s.giveBack()
	s.refuse(phaseBegin.in(start, fmt.Errorf("begin: %w", unsupported(err))))
	return s.cause
}

// sendRollback ends the server's transaction, if need be with its connection.
func (s *session) sendRollback() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), cleanupLimit)
	defer cancel()
	if s.control(ctx, "rollback") != nil {
		kill(s.conn)
	}
}

// simpleResult says what the server answered to a text of the simple protocol.
type simpleResult struct {
	tag       pgconn.CommandTag // the last statement's
	answers   answers
	unwritten bool // nothing of the text was written to the socket
}

// sendSimple sends text, which may be several statements, by the simple protocol. It calls see, if
// not nil, with the result of each. Tracers see an Exec without arguments.
func (s *session) sendSimple(ctx context.Context, text string, see func(*pgconn.ResultReader)) (simpleResult, error) {
	conn := s.conn
	ctx, traceEnd := knowledgeOf(conn).traceQuery(ctx, text, nil)
	var r simpleResult
	results := conn.PgConn().Exec(ctx, text)
	r.unwritten = conn.IsClosed() // nothing was read yet, so the write failed
	for results.NextResult() {
		result := results.ResultReader()
		if see != nil {
			see(result)
		}
		r.tag, _ = result.Close()
		r.answers.add(r.tag)
	}
	err := results.Close()
	r.unwritten = r.unwritten && pgconn.SafeToRetry(err) // false after a partial write
	traceEnd(r.tag, err)
	return r, err
}

// control sends a statement of this package in a transaction that has begun.
func (s *session) control(ctx context.Context, sql string) (err error) {
	if s.outer != nil {
		_, err = s.outer.Exec(ctx, sql)
	} else {
		_, err = s.sendSimple(ctx, sql, nil)
	}
	return err
}

// ensureBegun sends BEGIN, if it was not sent, for a call that cannot travel with it.
func (s *session) ensureBegun() error {
	if s.state == stateIdle {
		return s.begin()
	}
	return nil
}

// cutOff closes the connection of a transaction that was in use when its function returned.
func (s *session) cutOff() {
	if s.conn != nil {
		kill(s.conn)
	}
	s.loseInUse()
}

// discard gives the connection back after Run has given up on a call that was blocked.
func (s *session) discard() {
	s.cutOff()
	s.giveBack()
}

// rollback ends the transaction and gives the connection back. An error of ROLLBACK does not
// matter: it closes the connection, so the server rolls back.
func (s *session) rollback() {
	start := time.Now()
	if conn := s.conn; conn != nil {
		if !conn.IsClosed() && conn.PgConn().TxStatus() != 'I' {
			s.sendRollback()
		}
		if s.lease != nil && isStalePlan(s.cause) {
			kill(conn) // other statements of it may be stale too, and the pool opens another
		}
	}
	if s.state != stateIdle {
		s.times.commit = time.Since(start)
	}
	s.release()
}

// release gives the connection back after COMMIT or ROLLBACK.
func (s *session) release() {
	if s.large != nil {
		// This sends an empty statement, and marks the large objects as closed.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), cleanupLimit)
		_ = s.large.Commit(ctx)
		cancel()
	}
	s.giveBack()
}

// kill closes a connection without waiting for the server.
func kill(conn *pgx.Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = conn.Close(ctx)
}
