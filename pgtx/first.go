package pgtx

import (
	"context"
	"fmt"
	"math"
	"strings"

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
		case pgx.QueryRewriter:
			rewriter = arg
		case pgx.QueryResultFormats, pgx.QueryResultFormatsByOID:
			return nil, false
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
