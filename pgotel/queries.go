package pgotel

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/page-builder/persistence/pgerr"
)

// queries has otelpgx make the spans. It keeps values out of them, adds the attributes of a failure
// that the conventions ask for, and records the durations.
type queries struct {
	spans    *otelpgx.Tracer
	duration metric.Float64Histogram
	pool     attribute.KeyValue
	database atomic.Pointer[string] // the name, once a connection was begun
}

var (
	_ pgx.QueryTracer    = (*queries)(nil)
	_ pgx.BatchTracer    = (*queries)(nil)
	_ pgx.CopyFromTracer = (*queries)(nil)
	_ pgx.PrepareTracer  = (*queries)(nil)
	_ pgx.ConnectTracer  = (*queries)(nil)
)

func (t *Telemetry) makeQueries(options []otelpgx.Option) (err error) {
	t.queries = &queries{spans: otelpgx.NewTracer(options...), pool: t.pool}
	t.queries.duration, err = t.meter.Float64Histogram("db.client.operation.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of database client operations."),
		metric.WithExplicitBucketBoundaries(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10))
	return err
}

type beganKey struct{}

// begin keeps the time for end.
func begin(ctx context.Context) context.Context {
	return context.WithValue(ctx, beganKey{}, time.Now())
}

// end records the duration of an operation that begin began. It returns err without its text.
func (q *queries) end(ctx context.Context, operation string, err error) error {
	attributes := append(make([]attribute.KeyValue, 0, 6), attribute.String("db.system.name", "postgresql"), q.pool)
	if name := q.database.Load(); name != nil {
		attributes = append(attributes, attribute.String("db.namespace", *name))
	}
	if operation != "" {
		attributes = append(attributes, attribute.String("db.operation.name", operation))
	}
	attributes = append(attributes, failureAttributes(err)...)
	if began, ok := ctx.Value(beganKey{}).(time.Time); ok {
		q.duration.Record(ctx, time.Since(began).Seconds(), metric.WithAttributeSet(attribute.NewSet(attributes...)))
	}
	return markFailed(ctx, err)
}

// failureAttributes returns what the conventions ask for: the server's code for an error, or
// pgerr's category where there is none. Finding no row is no failure.
func failureAttributes(err error) []attribute.KeyValue {
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	category := string(pgerr.Of(err))
	attributes := []attribute.KeyValue{attribute.String("postgresql.error.category", category)}
	if refused := (*pgconn.PgError)(nil); errors.As(err, &refused) {
		return append(attributes, attribute.String("error.type", refused.Code),
			attribute.String("db.response.status_code", refused.Code))
	}
	return append(attributes, attribute.String("error.type", category))
}

// markFailed sets the attributes of a failure on the span of ctx, and returns err without its text.
func markFailed(ctx context.Context, err error) error {
	if span := trace.SpanFromContext(ctx); err != nil && span.IsRecording() {
		span.SetAttributes(failureAttributes(err)...)
	}
	return withoutText(err)
}

// failure is an error whose text a span may have: the server's may quote a value.
type failure struct{ cause error }

func withoutText(err error) error {
	if err == nil {
		return nil
	}
	return &failure{err}
}

func (f *failure) Error() string { return string(pgerr.Of(f.cause)) }
func (f *failure) Unwrap() error { return f.cause }

// TraceQueryStart implements [pgx.QueryTracer].
func (q *queries) TraceQueryStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if trace.SpanFromContext(ctx).IsRecording() {
		data.SQL = textOf(data.SQL, data.Args)
	}
	return q.spans.TraceQueryStart(begin(ctx), conn, data)
}

// TraceQueryEnd implements [pgx.QueryTracer].
func (q *queries) TraceQueryEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryEndData) {
	data.Err = q.end(ctx, "", data.Err)
	q.spans.TraceQueryEnd(ctx, conn, data)
}

// TraceBatchStart implements [pgx.BatchTracer].
func (q *queries) TraceBatchStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	return q.spans.TraceBatchStart(begin(ctx), conn, data)
}

// TraceBatchQuery implements [pgx.BatchTracer].
func (q *queries) TraceBatchQuery(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchQueryData) {
	if trace.SpanFromContext(ctx).IsRecording() {
		data.SQL, data.Err = textOf(data.SQL, data.Args), withoutText(data.Err)
	}
	q.spans.TraceBatchQuery(ctx, conn, data)
}

// TraceBatchEnd implements [pgx.BatchTracer].
func (q *queries) TraceBatchEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchEndData) {
	data.Err = q.end(ctx, "BATCH", data.Err)
	q.spans.TraceBatchEnd(ctx, conn, data)
}

// TraceCopyFromStart implements [pgx.CopyFromTracer].
func (q *queries) TraceCopyFromStart(
	ctx context.Context, conn *pgx.Conn, data pgx.TraceCopyFromStartData,
) context.Context {
	return q.spans.TraceCopyFromStart(begin(ctx), conn, data)
}

// TraceCopyFromEnd implements [pgx.CopyFromTracer].
func (q *queries) TraceCopyFromEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceCopyFromEndData) {
	data.Err = q.end(ctx, "COPY", data.Err)
	q.spans.TraceCopyFromEnd(ctx, conn, data)
}

// TracePrepareStart implements [pgx.PrepareTracer].
func (q *queries) TracePrepareStart(
	ctx context.Context, conn *pgx.Conn, data pgx.TracePrepareStartData,
) context.Context {
	if trace.SpanFromContext(ctx).IsRecording() && !strings.Contains(data.SQL, "$1") {
		data.SQL = withoutLiterals(data.SQL)
	}
	return q.spans.TracePrepareStart(ctx, conn, data)
}

// TracePrepareEnd implements [pgx.PrepareTracer].
func (q *queries) TracePrepareEnd(ctx context.Context, conn *pgx.Conn, data pgx.TracePrepareEndData) {
	data.Err = markFailed(ctx, data.Err)
	q.spans.TracePrepareEnd(ctx, conn, data)
}

// TraceConnectStart implements [pgx.ConnectTracer].
func (q *queries) TraceConnectStart(ctx context.Context, data pgx.TraceConnectStartData) context.Context {
	if q.database.Load() == nil {
		q.database.Store(&data.ConnConfig.Database)
	}
	return q.spans.TraceConnectStart(ctx, data)
}

// TraceConnectEnd implements [pgx.ConnectTracer].
func (q *queries) TraceConnectEnd(ctx context.Context, data pgx.TraceConnectEndData) {
	data.Err = markFailed(ctx, data.Err)
	q.spans.TraceConnectEnd(ctx, data)
}
