package pgtx

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrVerifyUnsupported is returned by a transaction with VerifyCommit, and by
// [CommitUnknownError.Resolve], on a server that does not know transaction ids as PostgreSQL 13 and
// later do: another engine that speaks its protocol, for instance.
var ErrVerifyUnsupported = errors.New("the server has no pg_current_xact_id, pg_xact_status or pg_stat_bgwriter for this role: unset VerifyCommit, or use an IdempotencyKey")

// The probe tells the transaction's id, which makes the server assign one, and when the server was
// started: another server, a promoted standby and one that was restarted have another time. A crash
// of a single backend lets the server start anew without a new start time, and it may then give the
// same ids again: what shows that is when its statistics were reset. Reading them can be slow up to
// PostgreSQL 14, and they are the same for all transactions of a connection, which does not survive
// such a crash: they are asked for only now and then.
//
// The text of a timestamp would depend on the session's settings.
//
// The timeline is not asked for: it changes only when a standby is promoted, which has given no ids
// before under its start time; and the one that pg_control_checkpoint tells is behind until the
// next checkpoint.
const (
	startSQL   = `extract(epoch from pg_catalog.pg_postmaster_start_time())::text`
	resetSQL   = `(select coalesce(extract(epoch from stats_reset)::text, '') from pg_catalog.pg_stat_bgwriter)`
	probeSQL   = `select pg_catalog.pg_current_xact_id()::text, ` + startSQL
	lineageSQL = `select ` + startSQL + `, ` + resetSQL
)

// lineageAge is for how long a connection's lineage is used. Directly connected it cannot change.
// Behind PgBouncer the server of a connection can, and everywhere somebody may reset the
// statistics: the outcomes that cannot be resolved after that are those of this long.
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

// verifies reports whether the transaction asks for its id. One that writes nothing has no outcome
// to lose.
func (o Options) verifies() bool {
	return o.VerifyCommit && o.TxOptions.AccessMode != pgx.ReadOnly
}

// announced reports whether BEGIN is accompanied by what only a flush of our own can carry, which
// is the probe or the insert of a key.
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

// server identifies the server's run in which the transaction got its id, or is empty if that is
// not known: behind PgBouncer the probe and the lineage of the connection may be of two.
func (v *verification) server() string {
	if v.lineage == nil || v.lineage.start != v.start {
		return ""
	}
	return v.start + " " + v.lineage.reset
}

// readProbe reads the answer to one of the probes.
func (s *session) readProbe(results pgx.BatchResults, sql string) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	for rows.Next() {
		s.learn(sql, rows.RawValues()) // text, in every format
	}
	return rows.Err()
}

func (s *session) learn(sql string, values [][]byte) {
	switch {
	case sql == lineageSQL:
		s.lineage = s.keep(string(values[0]), string(values[1]))
	case s.lineage != nil && s.lineage.start == string(values[1]):
		s.xid, s.start = string(values[0]), s.lineage.start
	default:
		s.xid, s.start = string(values[0]), string(values[1])
		if s.lineage != nil {
			s.lineage.asked = time.Time{} // the next transaction asks again
		}
	}
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

// execOpening sends text, which begins with the statements of opening, as one simple query. It
// returns the tag of the last statement that was answered and how many were, which is -1 if nothing
// was to be read of them.
func (s *session) execOpening(ctx context.Context, opening []string, text string) (pgconn.CommandTag, int, error) {
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
			if sql := opening[min(answered, len(opening)-1)]; answered < len(opening) && (sql == probeSQL || sql == lineageSQL) {
				s.learn(sql, reader.Values())
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

// unsupported adds ErrVerifyUnsupported to the error of a server that has not what the probes ask
// for, or not for this role.
func unsupported(err error) error {
	var pgError *pgconn.PgError
	if !errors.As(err, &pgError) || pgError.Code != "42883" && pgError.Code != "42501" {
		return err
	}
	for _, name := range []string{"pg_current_xact_id", "pg_postmaster_start_time", "pg_stat_bgwriter"} {
		if strings.Contains(pgError.Message, name) {
			return fmt.Errorf("%w: %w", ErrVerifyUnsupported, err)
		}
	}
	return err
}
