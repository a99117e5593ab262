package pgtx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// ErrVerifyUnsupported is returned by a transaction with VerifyCommit, and by [CommitUnknownError.Resolve], on a server
// that does not know transaction ids as PostgreSQL 13 and later do: another engine that speaks its protocol, for instance.
var ErrVerifyUnsupported = errors.New("the server has no pg_current_xact_id and pg_xact_status for this role: unset VerifyCommit, or use an IdempotencyKey")

// The probe tells the transaction's id, which makes the server assign one, and when the server was started: another
// server, a promoted standby and one that was restarted have another time. A crash of a single backend lets the server
// start anew without a new start time, and it may then give the same ids again: what shows that is when its statistics were reset.
// Reading them can be slow up to PostgreSQL 14, and they are the same for all transactions of a connection, which does not
// survive such a crash: they are asked for only now and then.
//
// The text of a timestamp would depend on the session's settings.
//
// The timeline is not asked for: it changes only when a standby is promoted, which has given no ids before under its start
// time; and the one that pg_control_checkpoint tells is behind until the next checkpoint.
const (
	startSQL   = `extract(epoch from pg_catalog.pg_postmaster_start_time())::text`
	resetSQL   = `(select coalesce(extract(epoch from stats_reset)::text, '') from pg_catalog.pg_stat_bgwriter)`
	probeSQL   = `select pg_catalog.pg_current_xact_id()::text, ` + startSQL
	lineageSQL = `select ` + startSQL + `, ` + resetSQL
)

// lineageAge is for how long a connection's lineage is used. Directly connected it cannot change. Behind PgBouncer the
// server of a connection can, and everywhere somebody may reset the statistics: the outcomes that cannot be resolved after
// that are those of this long.
const lineageAge = time.Minute

// lineage is what a connection keeps about its server.
type lineage struct {
	start, reset string
	asked        time.Time
	tracer       pgx.QueryTracer
}

const customKey = "github.com/page-builder/persistence/pgtx"

// verification is the part of a session that remembers what COMMIT can be verified by.
type verification struct {
	asked   []string // the probes, once it is known which
	xid     string
	start   string // of the server, as the probe saw it
	lineage *lineage
}

// verifies reports whether the transaction asks for its id. One that writes nothing has no outcome to lose.
func (o Options) verifies() bool {
	return o.VerifyCommit && o.TxOptions.AccessMode != pgx.ReadOnly
}

// announced reports whether BEGIN is accompanied by what only a flush of our own can carry, which is the probe or the insert
// of a key.
func (o Options) announced() bool { return o.verifies() || o.IdempotencyKey != "" }

// preamble is that of the options, and the probes.
func (s *session) preamble() []string {
	return append(s.opts.preamble(s.limit), s.probes()...)
}

// probes are the queries that follow BEGIN and its settings.
func (s *session) probes() []string {
	if !s.opts.verifies() {
		return nil
	}
	if s.asked == nil {
		s.asked = onlyProbe
		s.lineage, _ = s.connected.PgConn().CustomData()[customKey].(*lineage)
		if s.lineage == nil || time.Since(s.lineage.asked) > lineageAge {
			s.lineage, s.asked = nil, bothProbes
		}
	}
	return s.asked
}

var (
	onlyProbe  = []string{probeSQL}
	bothProbes = []string{probeSQL, lineageSQL}
)

// server identifies the server's run in which the transaction got its id, or is empty if that is not known: behind PgBouncer
// the probe and the lineage of the connection may be of two.
func (v *verification) server() string {
	if v.lineage == nil || v.lineage.start != v.start {
		return ""
	}
	return v.start + " " + v.lineage.reset
}

// readProbe reads the answer to one of the probes.
func (s *session) readProbe(results pgx.BatchResults, sql string) error {
	var first, second string
	err := results.QueryRow().Scan(&first, &second)
	if err == nil {
		s.learn(sql, first, second)
	}
	return err
}

func (s *session) learn(sql, first, second string) {
	if sql == probeSQL {
		s.xid, s.start = first, second
		if s.lineage != nil && s.lineage.start != s.start {
			s.lineage.asked = time.Time{} // the next transaction asks again
		}
		return
	}
	s.lineage = s.keep(first, second)
}

// keep stores what was learnt about the connection's server.
func (s *session) keep(start, reset string) *lineage {
	data := s.connected.PgConn().CustomData()
	known := &lineage{start: start, reset: reset, asked: time.Now()}
	if before, ok := data[customKey].(*lineage); ok {
		known.tracer = before.tracer
	} else {
		known.tracer = s.connected.Config().Tracer // a deep copy of the configuration, so only once
	}
	data[customKey] = known
	return known
}

// execOpening sends the preamble and sql as one simple query, and returns the tag of the last statement that was answered
// and how many were, which is -1 if nothing was to be read of them.
func (s *session) execOpening(ctx context.Context, separator, sql string) (pgconn.CommandTag, int, error) {
	opening := s.preamble()
	text := strings.Join(opening, separator)
	if sql != "" {
		text += separator + sql
	}
	if !s.opts.verifies() {
		tag, err := s.connected.Exec(ctx, text)
		return tag, -1, err
	}
	// What conn.Exec does, which keeps no rows.
	var tracer pgx.QueryTracer
	if s.lineage != nil {
		tracer = s.lineage.tracer
	} else {
		tracer = s.connected.Config().Tracer
	}
	if tracer != nil {
		ctx = tracer.TraceQueryStart(ctx, s.connected, pgx.TraceQueryStartData{SQL: text})
	}
	results := s.connected.PgConn().Exec(ctx, text)
	var tag pgconn.CommandTag
	answered := 0
	for ; results.NextResult(); answered++ {
		reader := results.ResultReader()
		for reader.NextRow() {
			if values := reader.Values(); answered < len(opening) && len(values) == 2 {
				s.learn(opening[answered], string(values[0]), string(values[1]))
			}
		}
		tag, _ = reader.Close()
	}
	err := results.Close()
	if tracer != nil {
		tracer.TraceQueryEnd(ctx, s.connected, pgx.TraceQueryEndData{CommandTag: tag, Err: err})
	}
	return tag, answered, err
}

// probe asks on a transaction that somebody else's BeginTx has begun.
func (s *session) probe(ctx context.Context) error {
	const sql = `select p.xid, p.start, ` + resetSQL + ` from (` + probeSQL + `) p (xid, start)`
	var reset string
	err := s.raw.QueryRow(ctx, sql).Scan(&s.xid, &s.start, &reset)
	s.lineage = &lineage{start: s.start, reset: reset}
	return unsupported(err)
}

// unsupported adds ErrVerifyUnsupported to the error of a server that has no pg_current_xact_id.
func unsupported(err error) error {
	var pgError *pgconn.PgError
	if errors.As(err, &pgError) && (pgError.Code == "42883" || pgError.Code == "42501") && strings.Contains(pgError.Message, "pg_current_xact_id") {
		return fmt.Errorf("%w: %w", ErrVerifyUnsupported, err)
	}
	return err
}

// errWarned stands for a COMMIT that succeeded with a notice while replication is synchronous.
var errWarned = errors.New("the server warned at COMMIT, and it might not have been replicated")

// notices notes whether one arrived while it was a connection's message trace.
type notices struct{ met bool }

func (n *notices) Write(message []byte) (int, error) {
	n.met = n.met || bytes.Contains(message, []byte("NoticeResponse"))
	return len(message), nil
}

// noticed runs do and reports whether a notice arrived. Handlers of notices belong to the connection's configuration, which
// is not ours; the trace of messages can be set on a connection that is open.
func noticed(conn *pgx.Conn, do func() error) (met bool, err error) {
	var seen notices
	frontend := conn.PgConn().Frontend()
	frontend.Trace(&seen, pgproto3.TracerOptions{SuppressTimestamps: true})
	if err = do(); conn.IsClosed() {
		return false, err // pgx may still be saying goodbye on it in the background
	}
	frontend.Untrace()
	return seen.met, err
}

// execCommit sends COMMIT. A wait for a synchronous standby that somebody cancels ends in success with a warning: the
// transaction is committed on this server, and lost if it is failed over from.
func (l *leased) execCommit(ctx context.Context, query string) (tag pgconn.CommandTag, err error) {
	if !l.watched {
		return l.Exec(ctx, query)
	}
	met, err := noticed(l.conn, func() error {
		tag, err = l.Exec(ctx, query)
		return err
	})
	if err != nil || !met {
		return tag, err
	}
	// The text is in the server's language; most notices are other ones.
	var alone bool
	if l.conn.QueryRow(ctx, `select current_setting('synchronous_standby_names') = ''`).Scan(&alone) != nil || !alone {
		return tag, errWarned
	}
	return tag, nil
}

// verify finds out what became of a transaction whose COMMIT was not answered.
func (s *session) verify(ctx context.Context, db DB, unknown *CommitUnknownError) (again bool, err error) {
	unknown.XID, unknown.Server, unknown.Key = s.xid, s.server(), s.opts.IdempotencyKey
	if unknown.XID == "" && unknown.Key == "" || s.opts.VerifyWait < 0 {
		return false, unknown
	}
	// The function's caller may have gone, but the answer is worth having.
	committed, err := unknown.resolve(context.WithoutCancel(ctx), db, s.opts.verifyWait())
	switch {
	case err != nil:
		unknown.Unresolved = err
		return false, unknown
	case committed:
		s.unknown = false
		return false, nil
	}
	s.unknown = false
	err = fmt.Errorf("commit: rolled back, as the server says: %w", unknown.Err)
	return ctx.Err() == nil && !isClosedConn(db) && s.opts.again(err, true), err
}

func isIdle(conn *pgx.Conn) bool { return !conn.IsClosed() && conn.PgConn().TxStatus() == 'I' }

// undone rolls back what began although a statement of the preamble failed.
func undone(ctx context.Context, conn *pgx.Conn) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	_, err := conn.Exec(ctx, "rollback")
	return err == nil
}
