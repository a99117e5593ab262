// Package pgotel reports a pool, its transactions and its queries to OpenTelemetry.
//
//	telemetry, err := pgotel.New(pgotel.Options{Pool: "main"})
//	if err != nil {
//		return err
//	}
//	defer telemetry.Close()
//	pool, err := pgpool.Connect(ctx, cfg,
//		pgpool.WithMetrics(telemetry), pgpool.WithTracer(telemetry.Tracer()))
//	…
//	opts := pgtx.Options{Name: "publish", Observe: telemetry.Observe}
//	err = pgtx.RunWith(ctx, pool, opts, publish)
//
// The names follow the semantic conventions for database clients. What those do not name begins
// with postgresql. No span or metric holds an argument of a query, a literal of a query without
// arguments, or the text of an error, which may quote a value.
package pgotel

import (
	"errors"
	"sync"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"

	"github.com/page-builder/persistence/pgpool"
)

const scope = "github.com/page-builder/persistence/pgotel"

// Options configure New. The zero value is ready for use.
type Options struct {
	// Pool tells several pools of a process apart: db.client.connection.pool.name. Defaults to
	// "main".
	Pool string

	// MeterProvider takes the metrics. Defaults to otel.GetMeterProvider() at the time of New.
	MeterProvider metric.MeterProvider

	// TracerProvider takes the spans. Defaults to otel.GetTracerProvider() at the time of New.
	TracerProvider trace.TracerProvider

	// Queries are further options of otelpgx, which makes the spans of queries. Defaults to none: a
	// span has the text of the query, and never its arguments.
	Queries []otelpgx.Option
}

// Telemetry reports one pool, or the pools of a cluster together. Its methods are safe for
// concurrent use and do not block.
type Telemetry struct {
	meter       metric.Meter
	tracer      trace.Tracer
	queries     *queries
	pool        attribute.KeyValue
	instruments instruments

	mu            sync.Mutex
	closed        bool
	registrations []metric.Registration
}

var _ pgpool.Metrics = (*Telemetry)(nil)

// New makes the instruments of a pool. Close it when the pool is closed.
func New(opts Options) (*Telemetry, error) {
	if opts.Pool == "" {
		opts.Pool = "main"
	}
	if opts.MeterProvider == nil {
		opts.MeterProvider = otel.GetMeterProvider()
	}
	if opts.TracerProvider == nil {
		opts.TracerProvider = otel.GetTracerProvider()
	}
	t := &Telemetry{
		meter:  opts.MeterProvider.Meter(scope),
		tracer: opts.TracerProvider.Tracer(scope),
		pool:   attribute.String("db.client.connection.pool.name", opts.Pool),
	}
	return t, errors.Join(t.makeInstruments(), t.makeQueries(append([]otelpgx.Option{
		otelpgx.WithTracerProvider(opts.TracerProvider),
		otelpgx.WithMeterProvider(noop.NewMeterProvider()), // its metrics do not tell failures apart
	}, opts.Queries...)))
}

// Tracer returns the tracer of queries, for pgpool.WithTracer. It makes a span for each query of a
// sampled trace, and records db.client.operation.duration for all. The error of a span is pgerr's
// category and the SQLSTATE.
func (t *Telemetry) Tracer() pgx.QueryTracer { return t.queries }

// Close ends the reading of all gauges. Counters and histograms go on.
func (t *Telemetry) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	var errs []error
	for _, r := range t.registrations {
		errs = append(errs, r.Unregister())
	}
	t.registrations = nil
	return errors.Join(errs...)
}

// register has gauges read until Close.
func (t *Telemetry) register(read metric.Callback, gauges ...metric.Observable) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errors.New("pgotel: closed")
	}
	r, err := t.meter.RegisterCallback(read, gauges...)
	if err == nil {
		t.registrations = append(t.registrations, r)
	}
	return err
}
