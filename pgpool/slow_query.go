package pgpool

import (
	"context"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgerr"
)

var (
	_ pgx.QueryTracer    = (*slowQuery)(nil)
	_ pgx.BatchTracer    = (*slowQuery)(nil)
	_ pgx.CopyFromTracer = (*slowQuery)(nil)
)

// maxLoggedSQL keeps one generated statement from filling the log; the head names the tables.
const maxLoggedSQL = 2000 // bytes

// slowQuery logs what took longer than its threshold.
type slowQuery struct {
	threshold time.Duration
	logger    *slog.Logger
}

type slowQueryKey struct{}

// running is a statement under way.
type running struct {
	began      time.Time
	sql        string
	statements int // of a batch
}

func (s *slowQuery) start(ctx context.Context, r *running) context.Context {
	r.began = time.Now()
	return context.WithValue(ctx, slowQueryKey{}, r)
}

func (s *slowQuery) end(ctx context.Context, message string, err error) {
	r, ok := ctx.Value(slowQueryKey{}).(*running)
	if !ok {
		return
	}
	took := time.Since(r.began)
	if took < s.threshold {
		return
	}
	attrs := []slog.Attr{slog.Duration("duration", took), slog.String("sql", loggedSQL(r.sql))}
	if r.statements > 1 {
		attrs = append(attrs, slog.Int("statements", r.statements))
	}
	if err != nil {
		// The category and not the text: a server's message quotes values.
		attrs = append(attrs, slog.String("category", string(pgerr.Of(err))))
	}
	s.logger.LogAttrs(ctx, slog.LevelWarn, message, attrs...)
}

func (s *slowQuery) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	return s.start(ctx, &running{sql: data.SQL})
}

func (s *slowQuery) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	s.end(ctx, "slow query", data.Err)
}

func (s *slowQuery) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	r := &running{}
	if data.Batch != nil {
		r.statements = data.Batch.Len()
		if r.statements > 0 {
			r.sql = data.Batch.QueuedQueries[0].SQL
		}
	}
	return s.start(ctx, r)
}

func (s *slowQuery) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (s *slowQuery) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchEndData) {
	s.end(ctx, "slow batch", data.Err)
}

func (s *slowQuery) TraceCopyFromStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceCopyFromStartData) context.Context {
	return s.start(ctx, &running{sql: "copy " + data.TableName.Sanitize()})
}

func (s *slowQuery) TraceCopyFromEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceCopyFromEndData) {
	s.end(ctx, "slow copy", data.Err)
}

// passwordSQL matches statements that carry a password as a literal, for which PostgreSQL takes no argument: CREATE and
// ALTER ROLE, user mappings and connection strings of foreign servers and subscriptions.
var passwordSQL = regexp.MustCompile(`(?i)password`)

// loggedSQL is a statement as it may be logged.
func loggedSQL(sql string) string {
	if passwordSQL.MatchString(sql) {
		return "(not shown: the statement mentions a password)"
	}
	if len(sql) > maxLoggedSQL {
		return strings.ToValidUTF8(sql[:maxLoggedSQL], "") + " …"
	}
	return sql
}
