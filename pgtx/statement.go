package pgtx

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// exec sends a statement of the function, the first one together with BEGIN.
func (s *session) exec(ctx context.Context, sql string, args []any) (pgconn.CommandTag, error) {
	riding, err := s.beginWith(ctx, sql, args, false)
	switch {
	case err != nil:
		return pgconn.CommandTag{}, err
	case riding:
		return s.first.exec(s)
	case s.outer == nil && hasSeveral(sql) && !slices.ContainsFunc(args, isNoMode):
		// pgx sends it by the simple protocol, and returns only the tag of the last statement.
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

// query sends a statement with rows, and fills r with them. Like pgx it returns an error of
// preparing and encoding, and may leave an error of the execution to the rows.
func (s *session) query(ctx context.Context, r *rows, sql string, args []any) error {
	riding, err := s.beginWith(ctx, sql, args, true)
	r.conn = s.conn
	switch f := &s.first; {
	case err != nil:
		return err
	case riding && f.err != nil:
		f.traceEnd(pgconn.CommandTag{}, f.err)
		if f.unsent {
			return f.err
		}
		r.fail(f.err)
		return nil
	case riding:
		r.Rows = pgx.RowsFromResultReader(s.conn.TypeMap(), f.result)
	default:
		if r.Rows, err = s.queries().Query(ctx, sql, args...); err != nil {
			s.observeStatement(sql, answers{partly: true}, err)
			return err
		}
	}
	r.gate, r.sql, r.riding, r.partly = &s.gate, sql, riding, s.isSimple(args)
	s.reading = true
	return nil
}

func tagged(tag pgconn.CommandTag) (a answers) {
	a.add(tag)
	return a
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

// isSimple reports whether a statement is sent by the simple protocol, in which a text can be
// several statements.
func (s *session) isSimple(args []any) bool {
	mode := knowledgeOf(s.conn).mode
	for _, arg := range args {
		if m, ok := arg.(pgx.QueryExecMode); ok {
			mode = m
		}
	}
	return mode == pgx.QueryExecModeSimpleProtocol
}
