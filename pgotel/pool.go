package pgotel

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/page-builder/persistence/pgpool"
)

// instruments are the pool's. The semantic conventions give their names, units and
// descriptions.
type instruments struct {
	wait, use, create                         metric.Float64Histogram
	timeouts                                  metric.Int64Counter
	count, maximum, idleMax, idleMin, pending metric.Int64ObservableUpDownCounter

	attributes, used, idle metric.MeasurementOption
}

func (t *Telemetry) makeInstruments() error {
	state := func(value string) metric.MeasurementOption {
		return metric.WithAttributes(t.pool, attribute.String("db.client.connection.state", value))
	}
	var errs []error
	histogram := func(name, description string) metric.Float64Histogram {
		h, err := t.meter.Float64Histogram("db.client.connection."+name, metric.WithUnit("s"),
			metric.WithDescription(description),
			metric.WithExplicitBucketBoundaries(0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10))
		errs = append(errs, err)
		return h
	}
	gauge := func(name, unit, description string) metric.Int64ObservableUpDownCounter {
		g, err := t.meter.Int64ObservableUpDownCounter("db.client.connection."+name, metric.WithUnit(unit),
			metric.WithDescription(description))
		errs = append(errs, err)
		return g
	}
	timeouts, err := t.meter.Int64Counter("db.client.connection.timeouts", metric.WithUnit("{timeout}"),
		metric.WithDescription("The number of connection timeouts that have occurred trying to obtain a connection "+
			"from the pool."))
	errs = append(errs, err)
	t.instruments = instruments{
		wait:     histogram("wait_time", "The time it took to obtain an open connection from the pool."),
		use:      histogram("use_time", "The time between borrowing a connection and returning it to the pool."),
		create:   histogram("create_time", "The time it took to create a new connection."),
		timeouts: timeouts,
		count:    gauge("count", "{connection}", "The number of connections that are currently in the state."),
		maximum:  gauge("max", "{connection}", "The maximum number of open connections allowed."),
		idleMax:  gauge("idle.max", "{connection}", "The maximum number of idle open connections allowed."),
		idleMin:  gauge("idle.min", "{connection}", "The minimum number of idle open connections allowed."),
		pending: gauge("pending_requests", "{request}",
			"The number of current pending requests for an open connection."),
		attributes: metric.WithAttributes(t.pool), used: state("used"), idle: state("idle"),
	}
	return errors.Join(errs...)
}

// Gauges implements [pgpool.Metrics].
func (t *Telemetry) Gauges(read func() pgpool.Gauges) {
	i := t.instruments
	err := t.register(func(_ context.Context, observer metric.Observer) error {
		g := read()
		observer.ObserveInt64(i.count, g.Used, i.used)
		observer.ObserveInt64(i.count, g.Idle, i.idle)
		observer.ObserveInt64(i.maximum, g.Max, i.attributes)
		observer.ObserveInt64(i.idleMax, g.IdleMax, i.attributes)
		observer.ObserveInt64(i.idleMin, g.IdleMin, i.attributes)
		observer.ObserveInt64(i.pending, g.PendingRequests, i.attributes)
		return nil
	}, i.count, i.maximum, i.idleMax, i.idleMin, i.pending)
	if err != nil {
		otel.Handle(err)
	}
}

// WaitTime implements [pgpool.Metrics].
func (t *Telemetry) WaitTime(d time.Duration) { t.record(t.instruments.wait, d) }

// UseTime implements [pgpool.Metrics].
func (t *Telemetry) UseTime(d time.Duration) { t.record(t.instruments.use, d) }

// CreateTime implements [pgpool.Metrics].
func (t *Telemetry) CreateTime(d time.Duration) { t.record(t.instruments.create, d) }

// Timeout implements [pgpool.Metrics].
func (t *Telemetry) Timeout() {
	t.instruments.timeouts.Add(context.Background(), 1, t.instruments.attributes)
}

func (t *Telemetry) record(h metric.Float64Histogram, d time.Duration) {
	h.Record(context.Background(), d.Seconds(), t.instruments.attributes)
}
