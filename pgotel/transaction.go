package pgotel

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgtx"
)

// Observe makes a span of each attempt of a transaction, for pgtx.Options.Observe: with its name,
// attempt and outcome, and the waits for a connection and before the next attempt. It makes none
// outside of a recorded span.
//
// pgtx reports an attempt when it is over. Its span is therefore beside its queries' spans, all
// below the caller's span.
func (t *Telemetry) Observe(ctx context.Context, r pgtx.Report) {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return
	}
	name := r.Kind
	if r.Name != "" {
		name += " " + r.Name
	}
	_, span := t.tracer.Start(ctx, name, trace.WithTimestamp(r.Start), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(
			t.pool,
			attribute.String("db.system.name", "postgresql"),
			attribute.String("postgresql.transaction.kind", r.Kind),
			attribute.Int("postgresql.transaction.attempt", r.Attempt),
			attribute.String("postgresql.transaction.outcome", string(r.Outcome)),
			attribute.Bool("postgresql.transaction.again", r.Again),
			attribute.Float64("postgresql.transaction.acquire_time", r.Acquire.Seconds()),
			attribute.Float64("postgresql.transaction.wait_time", r.Wait.Seconds()),
		))
	if r.Err != nil {
		span.SetStatus(codes.Error, string(pgerr.Of(r.Err)))
		span.SetAttributes(failureAttributes(r.Err)...)
	}
	span.End(trace.WithTimestamp(r.Start.Add(r.Acquire + r.Begin + r.Run + r.Commit)))
}
