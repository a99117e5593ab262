package pgtx

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// flight sends BEGIN together with the first statement of a transaction, or with all of a batch and
// COMMIT, in a pipeline of pgconn:
//
//	texts that the connection knows: BEGIN, SET LOCAL …, Bind, Execute, …, Sync
//	new texts, in two flushes:       BEGIN, SET LOCAL …, Parse, Describe, …, Sync; Bind, Execute, …, Sync
//
// The server works in this order. Nothing of the statements, their preparation included, happens
// outside the transaction or before its limits apply. pgx's own batches prepare their texts first.
type flight struct {
	ctx        context.Context
	statements []statement
	commit     bool // COMMIT travels too
	known      *knowledge
	pipeline   *pgconn.Pipeline
	sent       bool  // COMMIT was, at least in part
	failed     error // of preparing or encoding a statement, after BEGIN was answered
}

// statement is one that travels with BEGIN.
type statement struct {
	sql          string
	args         []any
	mode         pgx.QueryExecMode
	formats      pgx.QueryResultFormats
	formatsByOID pgx.QueryResultFormatsByOID
	rows         bool // sent by Query

	description *pgconn.StatementDescription
	fresh       bool // described in this transaction
	encoded     pgx.ExtendedQueryBuilder
}

// read reads from the arguments what pgx reads from them. It reports whether the statement can
// travel with BEGIN.
func (st *statement) read(ctx context.Context, s *session, sql string, args []any, rows bool) (bool, error) {
	*st = statement{sql: sql, mode: knowledgeOf(s.conn).mode, rows: rows}
	if s.raw != nil || s.opts.TxOptions.BeginQuery != "" || !strings.ContainsAny(strings.TrimSpace(sql), " \t\r\n") {
		return false, nil // a text without a space may be the name of a prepared statement
	}
	var rewriter pgx.QueryRewriter
options:
	for ; len(args) > 0; args = args[1:] {
		switch arg := args[0].(type) {
		case pgx.QueryExecMode:
			st.mode = arg
		case pgx.QueryRewriter:
			rewriter = arg
		case pgx.QueryResultFormats:
			st.formats = arg
		case pgx.QueryResultFormatsByOID:
			st.formatsByOID = arg
		default:
			break options
		}
	}
	if !rows && (st.formats != nil || st.formatsByOID != nil) {
		return false, nil
	}
	switch st.mode {
	case pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec:
	default:
		return false, nil // the simple protocol quotes arguments, which pgx does not export
	}
	st.args = args
	if rewriter != nil {
		var err error
		if st.sql, st.args, err = rewriter.RewriteQuery(ctx, s.conn, sql, args); err != nil {
			return false, fmt.Errorf("rewrite query failed: %w", err)
		}
	}
	// pgx sends an Exec without arguments by the simple protocol.
	return (rows || len(st.args) > 0) && len(st.args) <= math.MaxUint16, nil
}

// send sends the flight and reads the answers up to the first statement's. unanswered reports that
// the connection broke before BEGIN was executed. An error is that of BEGIN, of the connection, or
// of the client before anything was sent.
//
// started is called before anything is sent.
func (f *flight) send(s *session, started func()) (unanswered bool, err error) {
	start := time.Now()
	f.known, f.sent, f.failed = knowledgeOf(s.conn), false, nil
	unknown := f.find()
	if len(unknown) == 0 {
		if err := f.encode(s.conn); err != nil {
			return false, err
		}
	}
	prelude := s.prelude()
	end := f.known.traceBegin(s.ctx, prelude)
	started()
	p := s.conn.PgConn().StartPipeline(f.ctx)
	f.pipeline = p
	settled := false
	defer func() {
		if !settled { // an error, or a panic in an argument's encoder
			_ = p.Close()
		}
	}()
	for _, sql := range prelude {
		p.SendQueryParams(sql, nil, nil, nil, nil)
	}
	if len(unknown) > 0 {
		f.prepare(p, unknown)
	} else {
		f.execute(p)
	}
	answered, err := 0, p.Sync()
	unwritten := err != nil && pgconn.SafeToRetry(err)
	s.times.begin += time.Since(start)
	if err == nil {
		answered, err = s.readPrelude(p, len(prelude))
	}
	end(err)
	switch {
	case err == nil:
	case s.conn.IsClosed():
		if f.breakUnder(s, err, unwritten) {
			return false, &CommitUnknownError{Err: err}
		}
		return answered == 0 && f.ctx.Err() == nil, err
	case !errors.As(err, new(*pgconn.PgError)):
		return false, err // ctx was done before anything was sent
	default:
		settled = true
		_ = p.Close()
		return false, s.refuseBegin(start, err)
	}
	// The connection's status is that of before until the next Sync is answered.
	s.begun()
	if len(unknown) > 0 {
		if f.failed = f.describe(s, p, unknown); f.failed != nil {
			settled = true
			_ = p.Close()
			s.observe(f.failed)
			return false, nil
		}
		f.execute(p)
		if err := p.Sync(); err != nil {
			if f.breakUnder(s, err, pgconn.SafeToRetry(err)) {
				return false, &CommitUnknownError{Err: err}
			}
			return false, err
		}
	}
	settled = true
	return false, nil
}

// breakUnder records that the connection broke, and reports whether that leaves the outcome
// unknown. Without COMMIT in the flight, or with nothing written, or after a message of the server
// that came in the place of an earlier answer, nothing was committed.
func (f *flight) breakUnder(s *session, err error, unwritten bool) (unknown bool) {
	if f.sent && !unwritten && !errors.As(err, new(*pgconn.PgError)) {
		if s.repeatable = s.opts.TxOptions.AccessMode == pgx.ReadOnly; !s.repeatable {
			s.outcome = OutcomeUnknown
			return true
		}
	}
	s.fail(stateLost, err)
	return false
}

// readPrelude reads the answers to BEGIN and what follows it, and returns how many there were.
func (s *session) readPrelude(p *pgconn.Pipeline, n int) (answered int, err error) {
	for ; answered < n; answered++ {
		result, err := nextResult(p)
		if err == nil {
			s.readProbe(result)
			_, err = result.Close()
		}
		if err != nil {
			return answered, err
		}
	}
	return answered, nil
}

func nextResult(p *pgconn.Pipeline) (*pgconn.ResultReader, error) {
	results, err := p.GetResults()
	if err != nil {
		return nil, err
	}
	if result, ok := results.(*pgconn.ResultReader); ok {
		return result, nil
	}
	return nil, fmt.Errorf("unexpected %T in place of a result", results)
}

// find looks the statements up and returns those that have to be described, each text once.
func (f *flight) find() (unknown []*statement) {
	for i := range f.statements {
		st := &f.statements[i]
		st.description, st.fresh = f.known.find(st.mode, st.sql), false
		if st.description == nil && st.mode != pgx.QueryExecModeExec && !contains(unknown, st) {
			unknown = append(unknown, st)
		}
	}
	return unknown
}

func contains(statements []*statement, st *statement) bool {
	for _, other := range statements {
		if other.sql == st.sql {
			return true
		}
	}
	return false
}

// prepare sends what describes the statements.
func (f *flight) prepare(p *pgconn.Pipeline, unknown []*statement) {
	for range unknown {
		f.known.makeRoom()
	}
	for _, st := range unknown {
		name := ""
		if st.mode == pgx.QueryExecModeCacheStatement {
			// One that is there, because its transaction failed or its description was forgotten,
			// would make Parse fail.
			name = preparedName(st.sql)
			f.known.evicted = append(f.known.evicted, name)
		}
		for _, evicted := range f.known.evicted {
			p.SendDeallocate(evicted)
		}
		f.known.evicted = nil
		p.SendPrepare(name, st.sql, nil)
	}
}

// describe reads the descriptions and encodes the arguments.
func (f *flight) describe(s *session, p *pgconn.Pipeline, unknown []*statement) (err error) {
	for _, st := range unknown {
		end := f.known.tracePrepare(f.ctx, st)
		description, err := nextDescription(p)
		if end(err); err != nil {
			return err
		}
		if st.mode == pgx.QueryExecModeCacheStatement {
			description.Name = preparedName(st.sql)
		}
		description.SQL = st.sql
		f.known.keep(st.mode, description)
		for i := range f.statements {
			if same := &f.statements[i]; same.sql == st.sql {
				same.description, same.fresh = description, true
			}
		}
	}
	if _, err := p.GetResults(); err != nil { // Sync
		return err
	}
	return f.encode(s.conn)
}

func nextDescription(p *pgconn.Pipeline) (*pgconn.StatementDescription, error) {
	for {
		results, err := p.GetResults()
		if err != nil {
			return nil, err
		}
		switch results := results.(type) {
		case *pgconn.StatementDescription:
			return results, nil
		case *pgconn.CloseComplete:
		default:
			return nil, fmt.Errorf("unexpected %T in place of a description", results)
		}
	}
}

// encode encodes the arguments. An error is the one that pgx gives.
func (f *flight) encode(conn *pgx.Conn) error {
	for i := range f.statements {
		st := &f.statements[i]
		d := st.description
		if st.rows && d != nil && len(d.ParamOIDs) != len(st.args) {
			return fmt.Errorf("expected %d arguments, got %d", len(d.ParamOIDs), len(st.args))
		}
		if err := st.encoded.Build(conn.TypeMap(), d, st.args); err != nil {
			return err
		}
		if st.formatsByOID != nil && d != nil {
			st.formats = make([]int16, len(d.Fields))
			for i, field := range d.Fields {
				st.formats[i] = st.formatsByOID[field.DataTypeOID]
			}
		}
	}
	return nil
}

// execute sends the statements, and COMMIT.
func (f *flight) execute(p *pgconn.Pipeline) {
	for i := range f.statements {
		st := &f.statements[i]
		e, formats := &st.encoded, []int16(st.formats)
		if formats == nil {
			formats = e.ResultFormats
		}
		switch {
		case st.mode == pgx.QueryExecModeExec:
			p.SendQueryParams(st.sql, e.ParamValues, nil, e.ParamFormats, e.ResultFormats)
		case st.mode == pgx.QueryExecModeCacheDescribe, len(f.statements) > 1 && st.description.Name == "":
			p.SendQueryParams(st.sql, e.ParamValues, st.description.ParamOIDs, e.ParamFormats, formats)
		default:
			p.SendQueryStatement(st.description, e.ParamValues, e.ParamFormats, formats)
		}
	}
	if f.commit {
		p.SendQueryParams("commit", nil, nil, nil, nil)
		f.sent = true
	}
}

// isStale reports whether err says that a description which the connection had before is of no use
// any more. Then the flight can be repeated: nothing of it has taken effect.
func (f *flight) isStale(s *session, err error) bool {
	if s.state != stateFailed || !isStalePlan(err) {
		return false
	}
	known := false
	for i := range f.statements {
		if st := &f.statements[i]; st.description != nil && !st.fresh {
			known = true
			f.known.forget(st.sql)
		}
	}
	return known
}

// undoFirst rolls back a transaction whose first statement failed, and reports whether it did.
func (s *session) undoFirst() bool {
	if s.control(s.ctx, "rollback") != nil {
		s.observe(nil)
		return false
	}
	s.reset()
	return true
}
