package pgpool

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool/internal/mask"
)

// statement is a statement under way. It is the context of that statement, which costs one
// allocation where context.WithValue and a value cost two.
type statement struct {
	context.Context
	conn       *pgx.Conn
	began      time.Duration
	sql        string
	statements int  // in a batch
	dead       bool // the connection was closed before: its error is a consequence
	failed     bool // it has been logged
}

type statementKey struct{}

func (s *statement) Value(key any) any {
	if _, ok := key.(statementKey); ok {
		return s
	}
	return s.Context.Value(key)
}

func (o *observer) start(ctx context.Context, conn *pgx.Conn, sql string, statements int) context.Context {
	s := o.owned(conn)
	if s == nil {
		return ctx
	}
	s.sent(sql)
	return &statement{
		Context: ctx, conn: conn, began: o.clock(), sql: sql, statements: statements, dead: conn.IsClosed(),
	}
}

// end logs a statement that failed or was slow. Of an error it logs the category and the SQLSTATE,
// not the text: a server's message quotes values, and so does pgx's about an argument that does not
// fit.
func (o *observer) end(ctx context.Context, conn *pgx.Conn, what string, err error) {
	s, ok := ctx.(*statement)
	if !ok {
		s, _ = ctx.Value(statementKey{}).(*statement)
	}
	if s == nil || s.conn != conn || s.dead {
		return
	}
	limit, level, message := o.settings.SlowQuery, slog.LevelWarn, "slow "+what
	if err == nil && limit <= 0 {
		return
	}
	took := o.clock() - s.began
	slow := limit > 0 && took >= limit
	if err == nil && !slow {
		return
	}
	category := pgerr.Of(err)
	code := string(category)
	var answer *pgconn.PgError
	if err != nil {
		if conn.IsClosed() && ctx.Err() == nil { // a caller that hangs up loses its connection too
			o.connectionLost(ctx, err)
		}
		if s.failed {
			return
		}
		s.failed = true
		if !slow {
			level, message = failureLevel(category), what+" failed"
		}
		if errors.As(err, &answer) {
			code = answer.Code
		}
	}
	o.log.log(ctx, level, kind{message, code, s.sql}, func() []slog.Attr {
		attrs := []slog.Attr{slog.Duration("duration", took), slog.String("sql", mask.SQL(s.sql, maxLoggedSQL))}
		if s.statements > 1 {
			attrs = append(attrs, slog.Int("statements", s.statements))
		}
		if err != nil {
			attrs = append(attrs, slog.String("category", string(category)))
		}
		if answer != nil {
			attrs = append(attrs, slog.String("sqlstate", answer.Code))
		}
		return attrs
	})
}

// failureLevel returns debug for failures that programs expect: an operator need not know about a
// duplicate that a user entered.
func failureLevel(category pgerr.Category) slog.Level {
	switch category {
	case pgerr.Canceled, pgerr.NotFound, pgerr.Constraint, pgerr.Data, pgerr.Raised,
		pgerr.Serialization, pgerr.Deadlock:
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

func (o *observer) TraceQueryStart(
	ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryStartData,
) context.Context {
	return o.start(ctx, conn, data.SQL, 1)
}

func (o *observer) TraceQueryEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryEndData) {
	o.end(ctx, conn, "query", data.Err)
}

func (o *observer) TraceBatchStart(
	ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchStartData,
) context.Context {
	if data.Batch == nil || data.Batch.Len() == 0 {
		return o.start(ctx, conn, "", 0)
	}
	queued := data.Batch.QueuedQueries
	first := queued[0].SQL
	if len(queued) > 1 && strings.HasPrefix(first, "begin") {
		first = queued[1].SQL // a transaction that begins with its first statement
	}
	return o.start(ctx, conn, first, len(queued))
}

// TraceBatchQuery has nothing to do: the batch is logged as a whole.
func (o *observer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (o *observer) TraceBatchEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchEndData) {
	o.end(ctx, conn, "batch", data.Err)
}

func (o *observer) TraceCopyFromStart(
	ctx context.Context, conn *pgx.Conn, data pgx.TraceCopyFromStartData,
) context.Context {
	return o.start(ctx, conn, "copy "+data.TableName.Sanitize(), 1)
}

func (o *observer) TraceCopyFromEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceCopyFromEndData) {
	o.end(ctx, conn, "copy", data.Err)
}
