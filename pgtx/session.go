package pgtx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// cleanupLimit limits ROLLBACK, and COMMIT after the end of ctx. A server that answers at all
// answers both at once; a few seconds tell it from one that does not.
const cleanupLimit = 5 * time.Second

// session is one database transaction and the connection it occupies. The handles of all its
// functions and savepoints share it.
type session struct {
	condition
	gate gate
	verification

	key     any
	opts    Options
	call    context.Context // of the Run, for all attempts; nil if adopted
	ctx     context.Context // of the outermost function
	attempt int
	root    tx // the handle of the outermost function

	pool     acquirer // nil on a connection
	separate bool     // inside another transaction of the same pool
	lease    *pgxpool.Conn
	conn     *pgx.Conn // nil until it is acquired, and after it was given back
	raw      pgx.Tx    // of a db that begins itself, or begun elsewhere; nil if BEGIN is ours
	adopted  bool      // begun elsewhere, and so not ours to commit
	large    pgx.Tx    // the transaction of LargeObjects

	// The holder of the gate owns the fields below.
	innermost   *tx               // the handle of the innermost function
	open        []*tx             // the savepoints that are set, outermost first
	savepoints  int               // how many were set, for their names
	inUse       bool              // when the gate was shut
	readsOnly   bool              // transactions of the connection are read-only by default
	isPrimary   bool              // the server said that it is no standby
	repeatable  bool              // the server says that a COMMIT without an answer was rolled back
	beginsAlone bool              // the attempt before lost its connection: BEGIN alone can be sent again for certain
	answer      *commitAnswer     // to a COMMIT that traveled with a batch
	callback    error             // the first of a callback of Atomic
	prepared    map[string]string // the texts of statements that the function prepared
	outcome     Outcome
	token       string // the owner of the idempotency key's row
	keyTable    string
	keyRole     string    // that wrote the row
	committing  time.Time // when COMMIT was sent
	times       times
	first       firstStatement // here to save an allocation

	mu     sync.Mutex
	abort  bool               // interrupt was called
	stop   context.CancelFunc // ends the acquire
	socket *pgx.Conn          // conn, for interrupt
	hooks  []hook
	called bool // the BeforeCommit hooks were called: none can be added
	taken  bool // the hooks were taken to be called: none can be added
	reaper patience
}

type txBeginner interface {
	BeginTx(ctx context.Context, txOptions pgx.TxOptions) (pgx.Tx, error)
}

// queries are the statements that a connection and a pgx.Tx have in common.
type queries interface {
	Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
	CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, source pgx.CopyFromSource) (int64, error)
	Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error)
}

// newSession makes the session of one attempt. call is the ctx of Run, and ctx that of the attempt.
func newSession(call, ctx context.Context, key any, opts Options, attempt int) *session {
	s := &session{key: key, opts: opts, attempt: attempt, call: call, outcome: OutcomeRolledBack}
	s.root = tx{session: s, name: opts.Name}
	s.innermost = &s.root
	s.ctx = withScope(ctx, &s.root)
	return s
}

// adopt makes a session of a transaction that was begun elsewhere. Its root stays open, because
// nothing tells when it ends.
func adopt(key any, outer pgx.Tx) *tx {
	s := &session{key: key, raw: outer, attempt: 1, adopted: true}
	s.root = tx{session: s}
	s.innermost = &s.root
	s.begun()
	s.use(outer.Conn())
	if s.conn != nil && s.conn.PgConn().TxStatus() == 'E' {
		s.fail(stateFailed, nil)
	}
	return &s.root
}

// attach looks whether a transaction can begin on db, and takes the connection if db is one. alone
// reports that db is neither a pool nor a connection and has to begin itself.
func (s *session) attach(db DB, separate bool) (alone bool, err error) {
	if s.ctx.Err() != nil {
		return false, refused(fmt.Errorf("begin: %w", context.Cause(s.ctx)))
	}
	conn := connOf(db)
	if err := requireIdle(conn); err != nil {
		return false, refused(fmt.Errorf("begin: %w", err))
	}
	if pool, ok := db.(acquirer); ok {
		s.pool, s.separate = pool, separate
		return false, nil
	}
	if conn != nil {
		s.use(conn)
	}
	return conn == nil, nil
}

// start prepares the transaction on db. On a pool nothing is sent before the first statement,
// unless the options say so.
func (s *session) start(db DB, separate bool) error {
	alone, err := s.attach(db, separate)
	switch {
	case err != nil:
		return err
	case alone:
		return s.beginElsewhere(db)
	case s.opts.IdempotencyKey != "", s.pool != nil && !s.opts.Eager:
		return nil
	}
	return s.begin()
}

// beginElsewhere lets a db begin that is neither a pool nor a connection.
func (s *session) beginElsewhere(db DB) error {
	start := time.Now()
	var err error
	beginner, ok := db.(txBeginner)
	switch prelude := s.opts.prelude(s.ctx); {
	case ok && len(prelude) > 1:
		s.raw, err = beginner.BeginTx(s.ctx, pgx.TxOptions{
			BeginQuery: joinSQL(prelude), CommitQuery: s.opts.TxOptions.CommitQuery,
		})
	case ok:
		s.raw, err = beginner.BeginTx(s.ctx, s.opts.TxOptions)
	case len(prelude) > 1 || s.opts.TxOptions != (pgx.TxOptions{}):
		err = fmt.Errorf("a db of type %T has no BeginTx, which TxOptions, Settings and time limits need", db)
	default:
		s.raw, err = db.Begin(s.ctx)
	}
	s.times.begin = time.Since(start)
	if err != nil {
		s.refuse(phaseBegin.in(start, fmt.Errorf("begin: %w", err)))
		return s.cause
	}
	s.begun()
	s.use(s.raw.Conn())
	if s.opts.verifies() {
		if err := s.probe(s.ctx); err != nil {
			s.rollback()
			s.refuse(phaseBegin.in(start, fmt.Errorf("begin: %w", err)))
			return s.cause
		}
	}
	return nil
}

// requireIdle returns an error if conn is in a transaction already, where BEGIN would only warn,
// and our COMMIT would then end a transaction that is not ours. conn is nil for a pool.
func requireIdle(conn *pgx.Conn) error {
	if conn == nil || conn.IsClosed() || conn.PgConn().TxStatus() == 'I' {
		return nil
	}
	return errors.New("the connection is already in a transaction: pass its pgx.Tx, or the ctx its function was given")
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

// queries is what statements are sent on.
func (s *session) queries() queries {
	if s.raw != nil {
		return s.raw
	}
	return s.conn
}

// use makes conn the session's connection, or none with nil.
func (s *session) use(conn *pgx.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn, s.socket = conn, conn
	if conn != nil {
		s.pid = conn.PgConn().PID()
	}
	if s.abort && conn != nil {
		_ = conn.PgConn().Conn().Close()
	}
}

// giveBack returns the connection to its pool, which drops it if it is closed.
func (s *session) giveBack() {
	s.use(nil)
	if s.lease != nil {
		s.lease.Release()
		s.lease = nil
	}
}

// begin sends BEGIN and what belongs to it in a message of its own, with more after it.
func (s *session) begin(more ...string) error {
	return s.onLiveConnection(func() (dead bool, err error) {
		start := time.Now()
		prelude := append(s.prelude(), more...)
		answers := 0
		_, err = s.sendSimple(s.ctx, joinSQL(prelude), func(result *pgconn.ResultReader) {
			answers++
			s.readProbe(result)
		})
		s.times.begin += time.Since(start)
		if err == nil {
			s.begun()
			return false, nil
		}
		dead = s.conn.IsClosed() && answers == 0
		return dead, s.refuseBegin(start, err)
	})
}

func joinSQL(statements []string) string { return strings.Join(statements, "; ") }

// refuseBegin records that BEGIN, or what belongs to it, failed. It leaves no transaction behind,
// and no connection on which tx.Conn() would commit every statement by itself.
func (s *session) refuseBegin(start time.Time, err error) error {
	conn := s.conn
	switch {
	case !errors.As(err, new(*pgconn.PgError)):
		kill(conn) // whether it began is not known
	case !conn.IsClosed() && conn.PgConn().TxStatus() != 'I':
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), cleanupLimit)
		defer cancel()
		if s.control(ctx, "rollback") != nil {
			kill(conn)
		}
	}
	s.giveBack()
	s.refuse(phaseBegin.in(start, fmt.Errorf("begin: %w", unsupported(err))))
	return s.cause
}

// sendSimple sends text, which may be several statements, by the simple protocol. see, if not nil,
// is called with the result of each. Tracers see what they see of an Exec without arguments.
func (s *session) sendSimple(ctx context.Context, text string, see func(*pgconn.ResultReader)) (simpleResult, error) {
	conn := s.conn
	tracer := knowledgeOf(conn).tracer
	if tracer != nil {
		ctx = tracer.TraceQueryStart(ctx, conn, pgx.TraceQueryStartData{SQL: text})
	}
	var r simpleResult
	results := conn.PgConn().Exec(ctx, text)
	// Nothing has been read yet: a closed connection means that the write failed.
	r.unwritten = conn.IsClosed()
	for results.NextResult() {
		result := results.ResultReader()
		if see != nil {
			see(result)
		}
		r.tag, _ = result.Close()
		r.answers.add(r.tag)
	}
	err := results.Close()
	// Part of the text may have been written before the write failed.
	r.unwritten = r.unwritten && pgconn.SafeToRetry(err)
	if tracer != nil {
		tracer.TraceQueryEnd(ctx, conn, pgx.TraceQueryEndData{CommandTag: r.tag, Err: err})
	}
	return r, err
}

// simpleResult is what was learned from a text of the simple protocol.
type simpleResult struct {
	tag       pgconn.CommandTag // of the last statement
	answers   answers
	unwritten bool // nothing of the text was written to the socket
}

// control sends a statement of this package, on a transaction that has begun.
func (s *session) control(ctx context.Context, sql string) error {
	if s.raw != nil {
		_, err := s.raw.Exec(ctx, sql)
		return err
	}
	_, err := s.sendSimple(ctx, sql, nil)
	return err
}

// exec sends a statement of the function, the first one together with BEGIN.
func (s *session) exec(ctx context.Context, sql string, args []any) (pgconn.CommandTag, error) {
	riding, err := s.beginWith(ctx, sql, args, false)
	switch {
	case err != nil:
		return pgconn.CommandTag{}, err
	case riding:
		return s.first.exec(s)
	case s.raw == nil && hasSeveral(sql) && !slices.ContainsFunc(args, isNoMode):
		// pgx sends it by the simple protocol, and tells the tag of the last statement only.
		r, err := s.sendSimple(ctx, sql, nil)
		s.observeStatement(sql, r.answers, err)
		return r.tag, err
	}
	tag, err := s.queries().Exec(ctx, sql, args...)
	seen := tagged(tag)
	seen.partly = s.isSimple(args) || !strings.Contains(sql, "@") && !slices.ContainsFunc(args, isArgument)
	s.observeStatement(sql, seen, err)
	return tag, err
}

func isNoMode(arg any) bool { _, isMode := arg.(pgx.QueryExecMode); return !isMode }

// isArgument reports whether arg is more than an option of pgx.
func isArgument(arg any) bool {
	switch arg.(type) {
	case pgx.QueryExecMode, pgx.QueryRewriter:
		return false
	}
	return true
}

// isSimple reports whether statements are sent by the simple protocol, in which a text can be
// several.
func (s *session) isSimple(args []any) bool {
	if s.conn == nil {
		return true
	}
	mode := knowledgeOf(s.conn).mode
	for _, arg := range args {
		if m, ok := arg.(pgx.QueryExecMode); ok {
			mode = m
		}
	}
	return mode == pgx.QueryExecModeSimpleProtocol
}

// query is exec for a statement with rows, which the caller closes.
func (s *session) query(ctx context.Context, sql string, args []any) (rows pgx.Rows, riding bool, err error) {
	riding, err = s.beginWith(ctx, sql, args, true)
	switch {
	case err != nil:
		return errRows{err: err, conn: s.conn}, false, err
	case riding:
		rows, err = s.first.query(s)
		return rows, err == nil, err
	}
	rows, err = s.queries().Query(ctx, sql, args...)
	if err != nil {
		s.observeStatement(sql, answers{partly: true}, err)
	}
	return rows, false, err
}

// beginWith sends BEGIN if it was not sent yet, together with the statement if possible: then
// riding is true, and the answer is s.first's.
func (s *session) beginWith(ctx context.Context, sql string, args []any, rows bool) (riding bool, err error) {
	if s.state != stateIdle {
		return false, nil
	}
	if err := s.acquire(); err != nil {
		return false, err
	}
	f := &s.first
	f.ctx, f.known, f.sql, f.args, f.rows, f.traced = ctx, knowledgeOf(s.conn), sql, args, rows, false
	riding, err = f.read(s)
	switch {
	case err == nil && !riding:
		return false, s.begin()
	case err == nil:
		err = s.onLiveConnection(func() (bool, error) { return f.send(s) })
	}
	if err != nil {
		f.traceStart() // what failed before anything was sent
		f.traceEnd(pgconn.CommandTag{}, err)
	}
	return err == nil, err
}

// ensureBegun sends BEGIN for calls that cannot ride with it.
func (s *session) ensureBegun() error {
	if s.state == stateIdle {
		return s.begin()
	}
	return nil
}

// interrupt makes a statement that another goroutine is in return, by taking its socket away.
// Closing a net.Conn is the only thing on a pgx connection that a second goroutine may do.
func (s *session) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abort = true
	switch {
	case s.socket != nil:
		_ = s.socket.PgConn().Conn().Close()
	case s.stop != nil:
		s.stop()
	}
}

func (s *session) wasInterrupted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.abort
}

// shut ends all use of the session's handles. Afterwards s.inUse tells whether rows were open or
// another goroutine was in a statement.
func (s *session) shut() {
	if s.gate.isShut() {
		return
	}
	free := s.gate.shut(s.interrupt, cleanupLimit)
	if s.inUse = !free || s.wasInterrupted() || s.conn != nil && s.conn.PgConn().IsBusy(); !s.inUse && s.answer == nil {
		s.observe(nil) // tx.Conn() bypasses the handles
	}
}

// rollback ends the transaction and gives the connection back. Its own failure has no consequence:
// the connection is closed then, and with it the server rolls back.
func (s *session) rollback() {
	s.shut()
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), cleanupLimit)
	defer cancel()
	conn := s.conn
	if conn != nil {
		s.readsOnly = conn.PgConn().ParameterStatus("default_transaction_read_only") == "on"
		s.isPrimary = conn.PgConn().ParameterStatus("in_hot_standby") == "off"
	}
	switch {
	case s.raw != nil:
		_ = s.raw.Rollback(ctx) // gives the connection back, even if it is closed or busy
	case conn == nil:
	case s.inUse:
		kill(conn)
	case !conn.IsClosed() && conn.PgConn().TxStatus() != 'I':
		if s.control(ctx, "rollback") != nil {
			kill(conn)
		}
	}
	if s.lease != nil && isStalePlan(s.cause) {
		kill(conn) // it may have other stale statements, and the pool opens another
	}
	if s.state == stateEnded {
		s.outcome = OutcomeUnknown // that of a statement of the function
	}
	if s.state != stateIdle {
		s.times.commit = time.Since(start)
	}
	s.release()
}

// release gives the connection back after COMMIT or ROLLBACK.
func (s *session) release() {
	if s.large != nil {
		// Its commit query is empty. This marks the large objects as closed.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), cleanupLimit)
		_ = s.large.Commit(ctx)
		cancel()
	}
	s.giveBack()
}

// kill closes a connection without a word to the server.
func kill(conn *pgx.Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = conn.Close(ctx)
}
