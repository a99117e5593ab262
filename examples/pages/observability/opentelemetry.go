package observability

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/page-builder/persistence/pgpool"
)

var _ pgpool.Metrics = (*OpenTelemetry)(nil)

// OpenTelemetry exports one pool through a meter. Close it with the pool.
type OpenTelemetry struct {
	meter             metric.Meter
	attributes        metric.MeasurementOption
	wait, use, create metric.Float64Histogram
	timeouts          metric.Int64Counter

	count, maximum, idleMax, idleMin, pending metric.Int64ObservableUpDownCounter

	used, idle metric.MeasurementOption

	mu           sync.Mutex
	registration metric.Registration
}

// NewOpenTelemetry makes the instruments of a pool of that name, with the names and units of the
// semantic conventions.
func NewOpenTelemetry(meter metric.Meter, pool string) (*OpenTelemetry, error) {
	name := attribute.String("db.client.connection.pool.name", pool)
	state := func(value string) metric.MeasurementOption {
		return metric.WithAttributes(name, attribute.String("db.client.connection.state", value))
	}
	o := &OpenTelemetry{meter: meter, attributes: metric.WithAttributes(name), used: state("used"), idle: state("idle")}
	var errs []error
	histogram := func(name, description string) metric.Float64Histogram {
		h, err := meter.Float64Histogram("db.client.connection."+name, metric.WithUnit("s"),
			metric.WithDescription(description),
			metric.WithExplicitBucketBoundaries(0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10))
		errs = append(errs, err)
		return h
	}
	gauge := func(name, unit, description string) metric.Int64ObservableUpDownCounter {
		g, err := meter.Int64ObservableUpDownCounter("db.client.connection."+name, metric.WithUnit(unit),
			metric.WithDescription(description))
		errs = append(errs, err)
		return g
	}
	o.wait = histogram("wait_time", "The time it took to obtain an open connection from the pool.")
	o.use = histogram("use_time", "The time between borrowing a connection and returning it to the pool.")
	o.create = histogram("create_time", "The time it took to create a new connection.")
	o.count = gauge("count", "{connection}", "The number of connections that are currently in the state.")
	o.maximum = gauge("max", "{connection}", "The maximum number of open connections allowed.")
	o.idleMax = gauge("idle.max", "{connection}", "The maximum number of idle open connections allowed.")
	o.idleMin = gauge("idle.min", "{connection}", "The minimum number of idle open connections allowed.")
	o.pending = gauge("pending_requests", "{request}", "The number of current pending requests for an open connection.")
	var err error
	o.timeouts, err = meter.Int64Counter("db.client.connection.timeouts", metric.WithUnit("{timeout}"),
		metric.WithDescription("The number of connection timeouts that have occurred trying to obtain a connection "+
			"from the pool."))
	return o, errors.Join(append(errs, err)...)
}

// Gauges implements [pgpool.Metrics].
func (o *OpenTelemetry) Gauges(read func() pgpool.Gauges) {
	registration, err := o.meter.RegisterCallback(func(_ context.Context, observer metric.Observer) error {
		g := read()
		observer.ObserveInt64(o.count, g.Used, o.used)
		observer.ObserveInt64(o.count, g.Idle, o.idle)
		observer.ObserveInt64(o.maximum, g.Max, o.attributes)
		observer.ObserveInt64(o.idleMax, g.IdleMax, o.attributes)
		observer.ObserveInt64(o.idleMin, g.IdleMin, o.attributes)
		observer.ObserveInt64(o.pending, g.PendingRequests, o.attributes)
		return nil
	}, o.count, o.maximum, o.idleMax, o.idleMin, o.pending)
	if err != nil {
		return // only for instruments of another meter
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.registration = registration
}

// WaitTime implements [pgpool.Metrics].
func (o *OpenTelemetry) WaitTime(d time.Duration) {
	o.wait.Record(context.Background(), d.Seconds(), o.attributes)
}

// UseTime implements [pgpool.Metrics].
func (o *OpenTelemetry) UseTime(d time.Duration) {
	o.use.Record(context.Background(), d.Seconds(), o.attributes)
}

// CreateTime implements [pgpool.Metrics].
func (o *OpenTelemetry) CreateTime(d time.Duration) {
	o.create.Record(context.Background(), d.Seconds(), o.attributes)
}

// Timeout implements [pgpool.Metrics].
func (o *OpenTelemetry) Timeout() { o.timeouts.Add(context.Background(), 1, o.attributes) }

// Close ends the reading of the gauges.
func (o *OpenTelemetry) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.registration == nil {
		return nil
	}
	return o.registration.Unregister()
}
