package pgtx

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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
//	a new text: BEGIN, SET LOCAL …, Parse, Describe, Sync, and then Bind, Execute, Sync
//
// The server works in this order. Nothing of the statement, not even its preparation, happens
// outside the transaction or before its limits apply.
type firstStatement struct {
	ctx  context.Context
	sql  string // as the function wrote it, for tracers
	args []any
	rows bool // sent by Query

	text   string // as it is sent
	values []any
	mode   pgx.QueryExecMode

	known       *knowledge
	description *pgconn.StatementDescription
	encoded     pgx.ExtendedQueryBuilder

	pipeline *pgconn.Pipeline
	result   *pgconn.ResultReader
	err      error // in place of the result
	unsent   bool  // err comes from preparing or encoding
	traceEnd func(pgconn.CommandTag, error)
}

// beginWith sends BEGIN, if it was not sent, together with the statement if possible. Then riding
// is true, and s.first has the answer.
func (s *session) beginWith(ctx context.Context, sql string, args []any, rows bool) (riding bool, err error) {
	if s.state != stateIdle {
		return false, nil
	}
	if err := s.acquire(); err != nil {
		return false, err
	}
	f := &s.first
	*f = firstStatement{ctx: ctx, sql: sql, args: args, rows: rows, known: knowledgeOf(s.conn), text: sql}
	riding, err = f.read(s)
	switch {
	case err == nil && !riding:
		return false, s.begin()
	case err == nil:
		err = s.onLiveConnection(func() (bool, error) { return f.send(s) })
	}
	if err != nil {
		f.traceStart() // it may have failed before anything was sent
		f.traceEnd(pgconn.CommandTag{}, err)
	}
	return err == nil, err
}

// read reads the options among the arguments, as pgx does. It reports whether the statement can
// travel with BEGIN.
func (f *firstStatement) read(s *session) (bool, error) {
	switch {
	case s.opts.TxOptions.BeginQuery != "", s.beginsAlone:
		return false, nil
	case !strings.ContainsAny(strings.TrimSpace(f.sql), " \t\r\n"):
		return false, nil // it may be the name of a prepared statement
	case hasWord(f.sql, "copy"):
		return false, nil // a pipeline cannot read the answer to COPY
	}
	f.mode = f.known.mode
	rewriter, ok := f.readOptions()
	if !ok {
		return false, nil
	}
	switch f.mode {
	case pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec:
	default:
		return false, nil // the simple protocol quotes arguments, which pgx does not export
	}
	if rewriter != nil {
		var err error
		if f.text, f.values, err = rewriter.RewriteQuery(f.ctx, s.conn, f.sql, f.values); err != nil {
			return false, fmt.Errorf("rewrite query failed: %w", err)
		}
	}
	// pgx sends an Exec without arguments by the simple protocol.
	return (f.rows || len(f.values) > 0) && len(f.values) <= math.MaxUint16, nil
}

// readOptions takes the options off the arguments and returns the rewriter, if there is one. ok is
// false for an option that only pgx can apply.
func (f *firstStatement) readOptions() (rewriter pgx.QueryRewriter, ok bool) {
	for f.values = f.args; len(f.values) > 0; f.values = f.values[1:] {
		switch arg := f.values[0].(type) {
		case pgx.QueryExecMode:
			f.mode = arg
		case pgx.NamedArgs:
			rewriter = arg
		case pgx.StrictNamedArgs:
			rewriter = arg
		case pgx.QueryRewriter, pgx.QueryResultFormats, pgx.QueryResultFormatsByOID:
			return nil, false // a rewriter gets the connection, and may use it
		default:
			return rewriter, true
		}
	}
	return rewriter, true
}

// encode encodes the arguments. Its errors are pgx's.
func (f *firstStatement) encode(conn *pgx.Conn) error {
	d := f.description
	if f.rows && d != nil && len(d.ParamOIDs) != len(f.values) {
		return fmt.Errorf("expected %d arguments, got %d", len(d.ParamOIDs), len(f.values))
	}
	return f.encoded.Build(conn.TypeMap(), d, f.values)
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

// settle ends the pipeline after the result was read.
func (f *firstStatement) settle(s *session, tag pgconn.CommandTag, err error) error {
	if closeErr := f.pipeline.Close(); err == nil {
		err = closeErr
	}
	s.observeStatement(f.text, tagged(tag), err)
	f.traceEnd(tag, err)
	return err
}

// traceStart tells the tracer, once, that the statement is sent. pgx prepares with the ctx that the
// tracer returns.
func (f *firstStatement) traceStart() {
	if f.traceEnd == nil {
		f.ctx, f.traceEnd = f.known.traceQuery(f.ctx, f.sql, f.args)
	}
}

// send sends BEGIN and the statement. It returns the error of BEGIN or of the connection, and an
// error of the client before anything was sent. The statement's own error is in f.err.
//
// dead reports that the connection broke and that nothing of the statement can have been executed.
func (f *firstStatement) send(s *session) (dead bool, err error) {
	if dead, err = f.sendOnce(s); err != nil {
		return dead, err
	}
	if f.err == nil {
		f.result, f.err = nextResult(f.pipeline)
	}
	if f.err != nil {
		_ = f.pipeline.Close()
		s.observe(f.err)
		if isStalePlan(f.err) {
			delete(f.known.descriptions, described{f.mode, f.text})
		}
	}
	return false, nil
}

func (f *firstStatement) sendOnce(s *session) (dead bool, err error) {
	start := time.Now()
	f.known, f.result, f.err, f.unsent = knowledgeOf(s.conn), nil, nil, false
	f.description = f.known.descriptions[described{f.mode, f.text}]
	prepares := f.description == nil && f.mode != pgx.QueryExecModeExec
	if !prepares {
		if err := f.encode(s.conn); err != nil {
			return false, err
		}
	}
	prelude := s.prelude()
	_, endBegin := f.known.traceQuery(s.ctx, joinSQL(prelude), nil)
	f.traceStart()
	p := s.conn.PgConn().StartPipeline(f.ctx)
	f.pipeline = p
	done := false
	defer func() {
		if !done { // an error, or a panic of an argument's encoder
			_ = p.Close()
		}
	}()
	for _, sql := range prelude {
		p.SendQueryParams(sql, nil, nil, nil, nil)
	}
	if prepares {
		f.sendPrepare()
	} else {
		f.sendExecute()
	}
	answered, err := 0, p.Sync()
	unwritten := err != nil && pgconn.SafeToRetry(err)
	s.times.begin += time.Since(start)
	if err == nil {
		answered, err = s.readPrelude(p, len(prelude))
	}
	if err != nil {
		endBegin(pgconn.CommandTag{}, err)
		dead = s.conn.IsClosed() && (unwritten || prepares && answered == 0) && f.ctx.Err() == nil
		return dead, f.failBegin(s, start, err)
	}
	endBegin(pgconn.NewCommandTag("BEGIN"), nil)
	s.begun()
	if prepares {
		if f.err = f.describe(s); f.err != nil {
			f.unsent = true
			return false, nil
		}
		f.sendExecute()
		if err := p.Sync(); err != nil {
			s.fail(stateLost, err)
			return false, err
		}
	}
	done = true
	return false, nil
}

// readPrelude reads the answers to BEGIN and the statements with it, and returns how many there
// were.
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

// failBegin records that BEGIN failed, or the connection broke.
func (f *firstStatement) failBegin(s *session, start time.Time, err error) error {
	switch {
	case s.conn.IsClosed():
		s.fail(stateLost, err)
		return err
	case !errors.As(err, new(*pgconn.PgError)):
		return err // ctx was done before anything was sent
	}
	_ = f.pipeline.Close()
	return s.refuseBegin(start, err)
}

// name returns the name of the prepared statement, or "" in a mode that names none. It derives the
// name from the text, so that behind a pooler that switches servers it may be unknown, but never
// stands for another statement.
func (f *firstStatement) name() string {
	if f.mode != pgx.QueryExecModeCacheStatement {
		return ""
	}
	sum := sha256.Sum256([]byte(f.text))
	return "pgtx_" + hex.EncodeToString(sum[:16])
}

// sendPrepare sends what describes the statement.
func (f *firstStatement) sendPrepare() {
	k, p := f.known, f.pipeline
	k.makeRoom()
	name := f.name()
	if name != "" {
		// It may exist already, because its transaction failed or its description was forgotten.
		// Then Parse would fail.
		k.obsolete = append(k.obsolete, name)
	}
	for _, obsolete := range k.obsolete {
		p.SendDeallocate(obsolete)
	}
	k.obsolete = nil
	p.SendPrepare(name, f.text, nil)
}

// describe reads the description and encodes the arguments.
func (f *firstStatement) describe(s *session) error {
	end := f.known.tracePrepare(f.ctx, f.name(), f.text)
	description, err := f.nextDescription()
	if end(err); err != nil {
		return err
	}
	description.SQL, description.Name = f.text, f.name()
	f.known.keep(f.mode, description)
	f.description = description
	if _, err := f.pipeline.GetResults(); err != nil { // of Sync
		return err
	}
	return f.encode(s.conn)
}

func (f *firstStatement) nextDescription() (*pgconn.StatementDescription, error) {
	for {
		results, err := f.pipeline.GetResults()
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

func (f *firstStatement) sendExecute() {
	e := &f.encoded
	switch f.mode {
	case pgx.QueryExecModeExec:
		f.pipeline.SendQueryParams(f.text, e.ParamValues, nil, e.ParamFormats, e.ResultFormats)
	case pgx.QueryExecModeCacheDescribe:
		f.pipeline.SendQueryParams(f.text, e.ParamValues, f.description.ParamOIDs, e.ParamFormats, e.ResultFormats)
	default:
		f.pipeline.SendQueryStatement(f.description, e.ParamValues, e.ParamFormats, e.ResultFormats)
	}
}
