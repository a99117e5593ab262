package pgtx

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// riding is the first statement of a transaction, with which BEGIN travels.
type riding struct {
	flight
	one      [1]statement
	sql      string // as the function wrote it, for tracers
	args     []any
	traced   bool
	result   *pgconn.ResultReader
	err      error // in place of the result
	traceCtx context.Context
}

// send sends BEGIN and the statement. An error is that of BEGIN or of the client; the statement's
// own is left for exec and query.
func (r *riding) send(s *session) (unanswered bool, err error) {
	for {
		r.result, r.err = nil, nil
		if unanswered, err = r.flight.send(s, r.traceStart); err != nil {
			return unanswered, err
		}
		if r.err = r.failed; r.err == nil {
			r.result, r.err = nextResult(r.pipeline)
		}
		if r.err == nil {
			return false, nil
		}
		_ = r.pipeline.Close()
		s.observe(r.err)
		if !r.isStale(s, r.err) || !s.undoFirst() {
			return false, nil
		}
	}
}

// exec reads the answer to an Exec.
func (r *riding) exec(s *session) (tag pgconn.CommandTag, err error) {
	if r.err != nil {
		r.traceEnd(tag, r.err)
		return tag, r.err
	}
	tag, err = r.result.Close()
	return tag, r.settle(s, tag, err)
}

// query returns the rows of a Query. Like pgx it returns the error of preparing and encoding, and
// leaves that of the execution to the rows.
func (r *riding) query(s *session) (pgx.Rows, error) {
	if r.err != nil {
		r.traceEnd(pgconn.CommandTag{}, r.err)
		return errRows{err: r.err}, r.failed
	}
	return &ridingRows{Rows: pgx.RowsFromResultReader(s.conn.TypeMap(), r.result), session: s}, nil
}

// settle ends the pipeline after the result was read.
func (r *riding) settle(s *session, tag pgconn.CommandTag, err error) error {
	if closeErr := r.pipeline.Close(); err == nil {
		err = closeErr
	}
	s.observeStatement(r.one[0].sql, tagged(tag), err)
	r.traceEnd(tag, err)
	return err
}

// traceStart tells the tracer, once, that the statement is sent. pgx rewrites and prepares with the
// ctx that the tracer returns.
func (r *riding) traceStart() {
	if tracer := r.known.tracer; tracer != nil && !r.traced {
		r.traced = true
		r.traceCtx = tracer.TraceQueryStart(r.ctx, r.known.conn, pgx.TraceQueryStartData{SQL: r.sql, Args: r.args})
		r.ctx = r.traceCtx
	}
}

func (r *riding) traceEnd(tag pgconn.CommandTag, err error) {
	if tracer := r.known.tracer; tracer != nil {
		tracer.TraceQueryEnd(r.traceCtx, r.known.conn, pgx.TraceQueryEndData{CommandTag: tag, Err: err})
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
	r.err = r.session.first.settle(r.session, r.Rows.CommandTag(), r.Rows.Err())
}
