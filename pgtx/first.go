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

// The methods below run a statement, the transaction's first one together with BEGIN. Their caller
// is inside the gate. BatchResults that they return are closed by settle when what was returned
// with them has been read.

func (s *session) exec(ctx context.Context, sql string, args []any) (pgconn.CommandTag, error) {
	if s.pending() && alone(sql, args) {
		if err := s.beginNow(ctx, ""); err != nil {
			return pgconn.CommandTag{}, err
		}
	}
	if !s.pending() {
		if err := s.releaseBefore(ctx, sql); err != nil {
			return pgconn.CommandTag{}, err
		}
		if len(args) == 0 && !alone(sql, args) && renewable(sql) {
			return s.execRenewed(ctx, sql)
		}
		return s.raw.Exec(ctx, sql, args...)
	}
	if err := s.acquire(ctx); err != nil {
		return pgconn.CommandTag{}, err
	}
	sql, args, err := rewrite(ctx, s.connected, sql, args)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	if len(args) == 0 {
		return s.execSimple(ctx, sql)
	}
	results, err := s.beginWith(ctx, func(b *pgx.Batch) { b.Queue(sql, args...) })
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	tag, err := results.Exec()
	if settled := s.settle(results, true); settled != nil {
		err = settled
	}
	return tag, err
}

// execSimple sends BEGIN and sql as one simple query, which is how pgx sends a statement without
// arguments in every mode: it may be several.
func (s *session) execSimple(ctx context.Context, sql string) (pgconn.CommandTag, error) {
	preamble := s.preamble()
	prefix := strings.Join(preamble, ";\n") + ";\n"
	s.raw = s.onLease()
	start := time.Now()
	tag, results, err := s.execOpening(ctx, preamble, prefix+sql)
	s.times.begin = time.Since(start)
	var pgError *pgconn.PgError
	if errors.As(err, &pgError) {
		shift(pgError, len(prefix))
	}
	// A syntax error anywhere in the text comes before any of it has run, and so before a first
	// tag.
	s.outcome(err, tag.String() != "", false)
	if tag.String() == "" && isIdle(s.connected) && refusesBegin(err) {
		err = PhaseBegin.in(start, fmt.Errorf("begin: %w", err))
	}
	if results == len(preamble) || tag.String() == "BEGIN" || len(preamble) > 1 && tag.String() == "SET" && !strings.Contains(strings.ToLower(sql), "set") {
		tag = pgconn.CommandTag{} // sql was a comment
	}
	return tag, unsupported(err)
}

// execRenewed sends sql, which has no arguments, with a renewal of the limit in front if one is
// due.
func (s *session) execRenewed(ctx context.Context, sql string) (pgconn.CommandTag, error) {
	prefix := s.renewal()
	if prefix == "" {
		return s.raw.Exec(ctx, sql)
	}
	prefix += ";\n"
	tag, err := s.raw.Exec(ctx, prefix+sql)
	var pgError *pgconn.PgError
	if errors.As(err, &pgError) {
		shift(pgError, len(prefix))
	}
	return tag, err
}

func (s *session) query(ctx context.Context, sql string, args []any) (pgx.Rows, pgx.BatchResults, error) {
	results, err := s.beginQuery(ctx, sql, args)
	if err != nil {
		return errRows{err: err}, nil, err
	}
	if results == nil {
		rows, err := s.raw.Query(ctx, sql, args...)
		return rows, nil, err
	}
	rows, err := results.Query()
	if err != nil {
		if settled := s.settle(results, true); settled != nil {
			err = settled
		}
		return errRows{err: err}, nil, err
	}
	return rows, results, nil
}

func (s *session) queryRow(ctx context.Context, sql string, args []any) (pgx.Row, pgx.BatchResults) {
	results, err := s.beginQuery(ctx, sql, args)
	if err != nil {
		return errRow{err: err}, nil
	}
	if results == nil {
		return s.raw.QueryRow(ctx, sql, args...), nil
	}
	return results.QueryRow(), results
}

// beginQuery sends BEGIN, with the query if possible. Without results the query is still to be
// sent.
func (s *session) beginQuery(ctx context.Context, sql string, args []any) (pgx.BatchResults, error) {
	if !s.pending() {
		return nil, s.releaseBefore(ctx, sql)
	}
	if alone(sql, args) || s.queriesLimit() && !renewable(sql) {
		return nil, s.beginNow(ctx, "")
	}
	return s.beginWith(ctx, func(b *pgx.Batch) { b.Queue(sql, args...) })
}

func (s *session) sendBatch(ctx context.Context, batch *pgx.Batch) (results pgx.BatchResults, first bool) {
	if begins(batch) {
		return pgx.FailedBatchResults(batch, errBatchBegins), false
	}
	if s.pending() && batch.Len() > 0 && (!s.queriesLimit() || renewable(batch.QueuedQueries[0].SQL)) {
		results, err := s.beginWith(ctx, func(b *pgx.Batch) { appendTo(b, batch) })
		if err != nil {
			return pgx.FailedBatchResults(batch, err), false
		}
		return results, true
	}
	if err := s.begun(ctx); err != nil {
		return pgx.FailedBatchResults(batch, err), false
	}
	for _, q := range batch.QueuedQueries {
		if err := s.releaseBefore(ctx, q.SQL); err != nil {
			return pgx.FailedBatchResults(batch, err), false
		}
	}
	return s.sendRenewed(ctx, batch), false
}

// sendRenewed sends batch, with a renewal of the limit in front if one is due.
func (s *session) sendRenewed(ctx context.Context, batch *pgx.Batch) pgx.BatchResults {
	conn := s.raw.Conn()
	if batch.Len() == 0 || s.limit <= 0 || conn == nil || !renewable(batch.QueuedQueries[0].SQL) {
		return s.raw.SendBatch(ctx, batch)
	}
	limit := s.limit
	if s.renewal() == "" {
		return s.raw.SendBatch(ctx, batch)
	}
	if conn.Config().DefaultQueryExecMode == pgx.QueryExecModeSimpleProtocol {
		s.limit = limit // the positions in its errors would be wrong
		return s.raw.SendBatch(ctx, batch)
	}
	renewed := &pgx.Batch{}
	renewed.Queue(renewStatementTimeout, milliseconds(s.limit), milliseconds(limit)+"ms")
	appendTo(renewed, batch)
	results := s.raw.SendBatch(ctx, renewed)
	_, _ = results.Exec() // every further call returns its error again
	return results
}

// begun makes sure that BEGIN was sent, for calls that cannot carry it.
func (s *session) begun(ctx context.Context) error {
	if s.pending() {
		return s.beginNow(ctx, "")
	}
	return nil
}
