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

// firstStatement is the first statement of a transaction. BEGIN travels with it in a pipeline of
// pgconn:
//
//	a text that the connection knows: BEGIN, SET LOCAL …, Bind, Execute, Sync
//	a new text, in two flushes:     BEGIN, SET LOCAL …, Parse, Describe, Sync; Bind, Execute, Sync
//
// The server works in this order. Nothing of the statement, its preparation included, happens
// outside the transaction or before its limits apply.
type firstStatement struct {
	ctx          context.Context
	known        *knowledge
	sql          string // as the function wrote it, for tracers
	args         []any
	text         string // as it is sent
	values       []any
	mode         pgx.QueryExecMode
	formats      pgx.QueryResultFormats
	formatsByOID pgx.QueryResultFormatsByOID
	rows         bool // sent by Query

	description *pgconn.StatementDescription
	fresh       bool // described in this transaction
	encoded     pgx.ExtendedQueryBuilder

	pipeline *pgconn.Pipeline
	result   *pgconn.ResultReader
	err      error // in place of the result
	failed   error // of preparing or encoding, after BEGIN was answered
	traced   bool
	traceCtx context.Context
}

// read reads from the arguments what pgx reads from them. It reports whether the statement can
// travel with BEGIN.
func (f *firstStatement) read(s *session) (bool, error) {
	f.text, f.mode, f.formats, f.formatsByOID = f.sql, f.known.mode, nil, nil
	switch {
	case s.raw != nil, s.opts.TxOptions.BeginQuery != "", s.beginsAlone:
		return false, nil
	case !strings.ContainsAny(strings.TrimSpace(f.sql), " \t\r\n"):
		return false, nil // it may be the name of a prepared statement
	case hasWord(f.sql, "copy"):
		return false, nil // a pipeline cannot read the answer to COPY
	}
	args := f.args
	var rewriter pgx.QueryRewriter
options:
	for ; len(args) > 0; args = args[1:] {
		switch arg := args[0].(type) {
		case pgx.QueryExecMode:
			f.mode = arg
		case pgx.QueryRewriter:
			rewriter = arg
		case pgx.QueryResultFormats:
			f.formats = arg
		case pgx.QueryResultFormatsByOID:
			f.formatsByOID = arg
		default:
			break options
		}
	}
	if !f.rows && (f.formats != nil || f.formatsByOID != nil) {
		return false, nil
	}
	switch f.mode {
	case pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec:
	default:
		return false, nil // the simple protocol quotes arguments, which pgx does not export
	}
	f.values = args
	if rewriter != nil {
		var err error
		if f.text, f.values, err = rewriter.RewriteQuery(f.ctx, s.conn, f.sql, args); err != nil {
			return false, fmt.Errorf("rewrite query failed: %w", err)
		}
	}
	// pgx sends an Exec without arguments by the simple protocol.
	return (f.rows || len(f.values) > 0) && len(f.values) <= math.MaxUint16, nil
}

// send sends BEGIN and the statement, and prepares a stale one again. An error is that of BEGIN, of
// the connection, or of the client before anything was sent; the statement's own is left for exec
// and query.
//
// dead reports that the connection broke and that nothing of the statement can have been executed.
func (f *firstStatement) send(s *session) (dead bool, err error) {
	for {
		if dead, err = f.sendOnce(s); err != nil {
			return dead, err
		}
		if f.err = f.failed; f.err == nil {
			f.result, f.err = nextResult(f.pipeline)
		}
		if f.err == nil {
			return false, nil
		}
		_ = f.pipeline.Close()
		s.observe(f.err)
		if !f.isStale(s) || !s.undoFirst() {
			return false, nil
		}
	}
}

func (f *firstStatement) sendOnce(s *session) (dead bool, err error) {
	start := time.Now()
	f.known, f.result, f.err, f.failed = knowledgeOf(s.conn), nil, nil, nil
	f.description, f.fresh = f.known.find(f.mode, f.text), false
	prepares := f.description == nil && f.mode != pgx.QueryExecModeExec
	if !prepares {
		if err := f.encode(s.conn); err != nil {
			return false, err
		}
	}
	prelude := s.prelude()
	end := f.known.traceBegin(s.ctx, prelude)
	f.traceStart()
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
	if prepares {
		f.prepare(p)
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
		s.fail(stateLost, err)
		return (unwritten || prepares && answered == 0) && f.ctx.Err() == nil, err
	case !errors.As(err, new(*pgconn.PgError)):
		return false, err // ctx was done before anything was sent
	default:
		settled = true
		_ = p.Close()
		return false, s.refuseBegin(start, err)
	}
	// The connection's status is that of before until the next Sync is answered.
	s.begun()
	if prepares {
		if f.failed = f.describe(s, p); f.failed != nil {
			settled = true
			_ = p.Close()
			s.observe(f.failed)
			return false, nil
		}
		f.execute(p)
		if err := p.Sync(); err != nil {
			s.fail(stateLost, err)
			return false, err
		}
	}
	settled = true
	return false, nil
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

// prepare sends what describes the statement.
func (f *firstStatement) prepare(p *pgconn.Pipeline) {
	f.known.makeRoom()
	name := ""
	if f.mode == pgx.QueryExecModeCacheStatement {
		// One that is there, because its transaction failed or its description was forgotten, would
		// make Parse fail.
		name = preparedName(f.text)
		f.known.evicted = append(f.known.evicted, name)
	}
	for _, evicted := range f.known.evicted {
		p.SendDeallocate(evicted)
	}
	f.known.evicted = nil
	p.SendPrepare(name, f.text, nil)
}

// describe reads the description and encodes the arguments.
func (f *firstStatement) describe(s *session, p *pgconn.Pipeline) error {
	end := f.known.tracePrepare(f.ctx, f.mode, f.text)
	description, err := nextDescription(p)
	if end(err); err != nil {
		return err
	}
	if f.mode == pgx.QueryExecModeCacheStatement {
		description.Name = preparedName(f.text)
	}
	description.SQL = f.text
	f.known.keep(f.mode, description)
	f.description, f.fresh = description, true
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
func (f *firstStatement) encode(conn *pgx.Conn) error {
	d := f.description
	if f.rows && d != nil && len(d.ParamOIDs) != len(f.values) {
		return fmt.Errorf("expected %d arguments, got %d", len(d.ParamOIDs), len(f.values))
	}
	if err := f.encoded.Build(conn.TypeMap(), d, f.values); err != nil {
		return err
	}
	if f.formatsByOID != nil && d != nil {
		f.formats = make([]int16, len(d.Fields))
		for i, field := range d.Fields {
			f.formats[i] = f.formatsByOID[field.DataTypeOID]
		}
	}
	return nil
}

// execute sends the statement.
func (f *firstStatement) execute(p *pgconn.Pipeline) {
	e, formats := &f.encoded, []int16(f.formats)
	if formats == nil {
		formats = e.ResultFormats
	}
	switch f.mode {
	case pgx.QueryExecModeExec:
		p.SendQueryParams(f.text, e.ParamValues, nil, e.ParamFormats, e.ResultFormats)
	case pgx.QueryExecModeCacheDescribe:
		p.SendQueryParams(f.text, e.ParamValues, f.description.ParamOIDs, e.ParamFormats, formats)
	default:
		p.SendQueryStatement(f.description, e.ParamValues, e.ParamFormats, formats)
	}
}

// isStale reports whether the error says that a description which the connection had before is of
// no use any more. Then the statement can be sent again: nothing of it has taken effect.
func (f *firstStatement) isStale(s *session) bool {
	if s.state != stateFailed || !isStalePlan(f.err) || f.description == nil || f.fresh {
		return false
	}
	f.known.forget(f.text)
	return true
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

// exec reads the answer to an Exec.
func (f *firstStatement) exec(s *session) (tag pgconn.CommandTag, err error) {
	if f.err != nil {
		f.traceEnd(tag, f.err)
		return tag, f.err
	}
	tag, err = f.result.Close()
	return tag, f.settle(s, tag, err)
}

// query returns the rows of a Query. Like pgx it returns the error of preparing and encoding, and
// leaves that of the execution to the rows.
func (f *firstStatement) query(s *session) (pgx.Rows, error) {
	if f.err != nil {
		f.traceEnd(pgconn.CommandTag{}, f.err)
		return errRows{err: f.err, conn: s.conn}, f.failed
	}
	return &ridingRows{Rows: pgx.RowsFromResultReader(s.conn.TypeMap(), f.result), session: s}, nil
}

// settle ends the pipeline after the result was read.
func (f *firstStatement) settle(s *session, tag pgconn.CommandTag, err error) error {
	if closeErr := f.pipeline.Close(); err == nil {
		err = closeErr
	}
	s.observeStatement(f.text, tagged(tag), err)
	f.traceEnd(tag, err)
	return err
}

// traceStart tells the tracer, once, that the statement is sent. pgx rewrites and prepares with the
// ctx that the tracer returns.
func (f *firstStatement) traceStart() {
	if tracer := f.known.tracer; tracer != nil && !f.traced {
		f.traced = true
		f.traceCtx = tracer.TraceQueryStart(f.ctx, f.known.conn, pgx.TraceQueryStartData{SQL: f.sql, Args: f.args})
		f.ctx = f.traceCtx
	}
}

func (f *firstStatement) traceEnd(tag pgconn.CommandTag, err error) {
	if tracer := f.known.tracer; tracer != nil {
		tracer.TraceQueryEnd(f.traceCtx, f.known.conn, pgx.TraceQueryEndData{CommandTag: tag, Err: err})
	}
}

// ridingRows settle the pipeline when they are closed.
type ridingRows struct {
	pgx.Rows
	session *session
	settled bool
	err     error
}

func (r *ridingRows) Conn() *pgx.Conn { return r.session.conn }

func (r *ridingRows) Err() error { return r.err }

func (r *ridingRows) Next() bool {
	if r.Rows.Next() {
		return true
	}
	r.Close()
	return false
}

// Scan and Values close the rows if they fail, as those of pgx do.
func (r *ridingRows) Scan(dest ...any) error {
	err := r.Rows.Scan(dest...)
	if err != nil {
		r.Close()
	}
	return err
}

func (r *ridingRows) Values() ([]any, error) {
	values, err := r.Rows.Values()
	if err != nil {
		r.Close()
	}
	return values, err
}

func (r *ridingRows) Close() {
	if r.settled {
		return
	}
	r.settled = true
	r.Rows.Close()
	r.err = r.session.first.settle(r.session, r.CommandTag(), r.Rows.Err())
}
