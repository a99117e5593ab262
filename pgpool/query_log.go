package pgpool

import (
	"context"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool/internal/dial"
)

// statement is a statement under way. It is the context of that statement, which costs one
// allocation where context.WithValue and a value cost two.
type statement struct {
	context.Context
	began      time.Time
	sql        string
	statements int // of a batch
}

type statementKey struct{}

func (s *statement) Value(key any) any {
	if _, ok := key.(statementKey); ok {
		return s
	}
	return s.Context.Value(key)
}

func (o *observer) start(ctx context.Context, conn *pgx.Conn, sql string, statements int) context.Context {
	if s := sessionOf(conn); s != nil {
		s.sent(sql)
	}
	return &statement{Context: ctx, began: time.Now(), sql: sql, statements: statements}
}

// end logs a statement that failed or was slow. Of an error it logs the category and the SQLSTATE,
// not the text: a server's message quotes values, and so does pgx's about an argument that does not
// fit.
func (o *observer) end(ctx context.Context, conn *pgx.Conn, what string, err error) {
	s, ok := ctx.(*statement)
	if !ok {
		if s, ok = ctx.Value(statementKey{}).(*statement); !ok {
			return
		}
	}
	took := time.Since(s.began)
	level, message := slog.LevelWarn, "slow "+what
	slow := o.settings.SlowQuery > 0 && took >= o.settings.SlowQuery
	var category pgerr.Category
	if err != nil {
		category = pgerr.Of(err)
		if conn != nil && conn.IsClosed() && ctx.Err() == nil {
			o.connectionLost(ctx, err)
		}
		if !slow {
			level, message = failureLevel(category), what+" failed"
		}
	} else if !slow {
		return
	}
	if !o.settings.Logger.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{slog.Duration("duration", took), slog.String("sql", loggedSQL(s.sql))}
	if s.statements > 1 {
		attrs = append(attrs, slog.Int("statements", s.statements))
	}
	if err != nil {
		attrs = append(attrs, slog.String("category", string(category)))
		var answer *pgconn.PgError
		if errors.As(err, &answer) {
			attrs = append(attrs, slog.String("code", answer.Code))
		}
	}
	o.settings.Logger.LogAttrs(ctx, level, message, attrs...)
}

// failureLevel is debug for what programs are written to meet: a user's duplicate is no operator's
// business.
func failureLevel(category pgerr.Category) slog.Level {
	switch category {
	case pgerr.Canceled, pgerr.NotFound, pgerr.Constraint, pgerr.Serialization, pgerr.Deadlock,
		pgerr.Raised, pgerr.Data:
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

func (o *observer) TraceQueryStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	return o.start(ctx, conn, data.SQL, 1)
}

func (o *observer) TraceQueryEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryEndData) {
	o.end(ctx, conn, "query", data.Err)
}

func (o *observer) TraceBatchStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
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

// maxLoggedSQL keeps one generated statement from filling the log; the head names the tables.
const maxLoggedSQL = 2000 // bytes

// passwordSQL matches statements that carry a password as a literal, for which PostgreSQL takes no
// argument: CREATE and ALTER ROLE, user mappings and connection strings of foreign servers and
// subscriptions.
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

// failures logs what fails without a statement, at most once a second for each category: in an
// outage every caller fails, and they all say the same.
type failures struct {
	mu   sync.Mutex
	kept map[pgerr.Category]*kept
}

type kept struct {
	logged time.Time
	quiet  int // not logged since
}

const failureInterval = time.Second

func (f *failures) log(ctx context.Context, logger *slog.Logger, message string, category pgerr.Category, err error) {
	f.mu.Lock()
	k := f.kept[category]
	if k == nil {
		if f.kept == nil {
			f.kept = map[pgerr.Category]*kept{}
		}
		k = &kept{}
		f.kept[category] = k
	}
	now := time.Now()
	if now.Sub(k.logged) < failureInterval {
		k.quiet++
		f.mu.Unlock()
		return
	}
	quiet := k.quiet
	k.logged, k.quiet = now, 0
	f.mu.Unlock()

	attrs := []slog.Attr{
		slog.String("category", string(category)), slog.String("error", dial.OneLine.Replace(err.Error())),
	}
	if quiet > 0 {
		attrs = append(attrs, slog.Int("not_logged", quiet))
	}
	logger.LogAttrs(ctx, slog.LevelWarn, message, attrs...)
}
