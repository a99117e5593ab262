package pgtx

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// lazy is the part of a session that begins its transaction with the first statement. Its fields
// belong to whoever is inside the gate, except for those under mu, which interrupt needs from
// outside.
type lazy struct {
	pool     acquirer // nil if the transaction was begun at once
	separate bool     // inside another transaction of the same pool
	lease    *pgxpool.Conn
	refused  bool  // nothing begun, and nothing will be: a begin failed, or a first statement before BEGIN was sent
	failure  error // of a begin

	// In here because a transaction should cost few allocations.
	leased leased              // on lease, when it has begun
	batch  pgx.Batch           // the flush that carries BEGIN
	queue  [4]*pgx.QueuedQuery // of batch, unless it is longer

	mu        sync.Mutex
	abort     bool               // interrupt was called
	stop      context.CancelFunc // of the acquire
	connected *pgx.Conn
}

// errAborted is what PostgreSQL answers in a failed transaction. The server's transaction does not
// exist if the first statement could not be prepared, but to the function it has failed.
var errAborted = &pgconn.PgError{
	Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "25P02",
	Message: "current transaction is aborted, commands ignored until end of transaction block",
}

var errBatchBegins = errors.New("Batch.BeginTx cannot be used within a transaction")

// pending reports whether BEGIN is still to be sent.
func (s *session) pending() bool { return s.pool != nil && s.raw == nil && !s.refused }

// refusal is the error of every statement after a begin that failed, or nil.
func (s *session) refusal() error {
	switch {
	case s.failure != nil:
		return s.failure
	case s.refused:
		return errAborted
	}
	return nil
}

// acquire takes the connection, if there is none yet.
func (s *session) acquire(ctx context.Context) error {
	if s.connected != nil {
		s.limit = s.opts.statementLimit(s.ctx)
		return nil
	}
	start := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	s.stop = cancel
	s.mu.Unlock()
	take := acquireWithin
	if s.separate {
		take = acquireSeparate
	}
	lease, err := take(ctx, s.pool, s.opts.AcquireTimeout)
	s.times.acquire = time.Since(start)
	s.limit = s.opts.statementLimit(s.ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop = nil; err != nil {
		return s.refuse(PhaseAcquire.in(start, err))
	}
	s.lease, s.connected = lease, lease.Conn()
	if s.abort {
		_ = s.connected.PgConn().Conn().Close()
	}
	return nil
}

func (s *session) refuse(err error) error {
	s.refused = true
	s.failure, s.failed = err, err
	return s.failure
}

// giveBack returns a connection on which nothing was begun.
func (s *session) giveBack() {
	if s.lease == nil {
		return
	}
	s.mu.Lock()
	s.connected = nil
	s.mu.Unlock()
	s.verification = verification{}
	s.lease.Release()
	s.lease = nil
}

// beginNow sends BEGIN in a flush of its own, with rest, from its semicolon on, after it.
func (s *session) beginNow(ctx context.Context, rest string) error {
	if err := s.acquire(ctx); err != nil {
		return err
	}
	conn := s.connected
	start := time.Now()
	opening := s.preamble()
	_, _, err := s.execOpening(ctx, opening, strings.Join(opening, "; ")+rest)
	s.times.begin = time.Since(start)
	if err != nil {
		var pgError *pgconn.PgError
		if !errors.As(err, &pgError) || !isIdle(conn) && !undone(ctx, conn) {
			kill(conn) // whether it began is not known
		}
		return s.refuse(PhaseBegin.in(start, fmt.Errorf("begin: %w", unsupported(err))))
	}
	s.raw = s.onLease()
	return nil
}

// beginWith sends BEGIN and what add queues in one flush, and reads the answer to BEGIN. The
// results are closed by settle.
func (s *session) beginWith(ctx context.Context, add func(*pgx.Batch)) (pgx.BatchResults, error) {
	if err := s.acquire(ctx); err != nil {
		return nil, err
	}
	batch := &s.batch
	*batch = pgx.Batch{QueuedQueries: s.queue[:0]}
	preamble := s.opts.queuePreamble(batch, s.limit)
	probes := s.probes()
	for _, sql := range probes {
		batch.Queue(sql)
	}
	add(batch)
	start := time.Now()
	results := s.connected.SendBatch(ctx, batch)
	s.raw = s.onLease()
	for i := range preamble {
		if _, err := results.Exec(); err != nil {
			err = unsupported(s.settle(results, i > 0))
			s.times.begin = time.Since(start)
			if i == 0 && refusesBegin(err) {
				err = PhaseBegin.in(start, fmt.Errorf("begin: %w", err))
			}
			return nil, err
		}
	}
	for _, sql := range probes {
		if err := s.readProbe(results, sql); err != nil {
			err = unsupported(s.settle(results, true))
			s.times.begin = time.Since(start)
			return nil, err
		}
	}
	s.times.begin = time.Since(start)
	return results, nil
}

// settle closes the results of the flush that carried BEGIN, and finds out whether the transaction
// began.
func (s *session) settle(results pgx.BatchResults, began bool) error {
	err := results.Close()
	if err == nil {
		return nil // the transaction began
	}
	conn := s.connected
	var pgError *pgconn.PgError
	if errors.As(err, &pgError) && pgError.Position > 0 && conn.Config().DefaultQueryExecMode == pgx.QueryExecModeSimpleProtocol {
		prefix := s.opts.simplePrefix(s.limit)
		for _, sql := range s.probes() {
			prefix += len(sql) + len("\n;")
		}
		shift(pgError, prefix)
	}
	unsent := errors.As(err, new(pgx.ErrPreprocessingBatch))
	s.outcome(unwrapped(err), began, unsent && strings.Contains(err.Error(), "(build)"))
	return unwrapped(err)
}

// outcome records what became of the transaction after the flush that carried BEGIN. unsent says
// that the flush ended in an error of the client before anything was sent, for which pgx may close
// the connection.
func (s *session) outcome(err error, began, unsent bool) {
	conn := s.connected
	switch {
	case conn.IsClosed() && unsent:
		// A value that cannot be encoded leaves a plain transaction in order. Here nothing has
		// begun, so that the next statement can begin on another connection.
		s.raw = nil
		s.giveBack()
	case conn.IsClosed() || began || err == nil || conn.PgConn().TxStatus() != 'I':
	default:
		s.raw = nil
		if errors.As(err, new(*pgconn.PgError)) {
			// A statement that could not be prepared, or a BEGIN that was refused.
			s.refused, s.failed = true, err
		}
	}
}

func isIdle(conn *pgx.Conn) bool { return !conn.IsClosed() && conn.PgConn().TxStatus() == 'I' }

// undone rolls back what began although a statement of the preamble failed.
func undone(ctx context.Context, conn *pgx.Conn) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	_, err := conn.Exec(ctx, "rollback")
	return err == nil
}

// refusesBegin reports whether the server's answer in BEGIN's place is about BEGIN. That the text
// of what came with it cannot be parsed is said in the same place, with a position, and that it
// cannot be prepared, before.
func refusesBegin(err error) bool {
	var pgError *pgconn.PgError
	return errors.As(err, &pgError) && pgError.Position == 0 && !errors.As(err, new(pgx.ErrPreprocessingBatch))
}

// shift makes the position in an error count from the function's own text.
func shift(e *pgconn.PgError, prefix int) {
	if int(e.Position) > prefix {
		e.Position -= int32(prefix)
	}
}

// alone reports whether a first statement cannot share a flush with BEGIN: with options of pgx a
// batch does not know, without text, and if it may be the name of a prepared statement.
func alone(sql string, args []any) bool {
	for _, arg := range args {
		switch arg.(type) {
		case pgx.QueryExecMode, pgx.QueryResultFormats, pgx.QueryResultFormatsByOID:
			return true
		case pgx.QueryRewriter:
			continue
		}
		break
	}
	return !strings.ContainsAny(strings.TrimSpace(sql), " \t\r\n;")
}

// rewrite does what pgx does with a QueryRewriter in front of the arguments, for it can leave none
// of them.
func rewrite(ctx context.Context, conn *pgx.Conn, sql string, args []any) (string, []any, error) {
	if len(args) == 0 {
		return sql, args, nil
	}
	rewriter, ok := args[0].(pgx.QueryRewriter)
	if !ok {
		return sql, args, nil
	}
	newSQL, newArgs, err := rewriter.RewriteQuery(ctx, conn, sql, args[1:])
	if err != nil {
		return "", nil, fmt.Errorf("rewrite query failed: %w", err)
	}
	return newSQL, newArgs, nil
}
