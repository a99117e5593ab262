package pgotel

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/page-builder/persistence/pgpool/replica"
)

// databaseLimit limits the query of WatchDatabase. A collection must not wait for a database that
// does not answer.
const databaseLimit = time.Second

// WatchListener reports a listener until Close: postgresql.listener.up is 1 while notifications
// arrive. The listener of pgpool/listen fits. name tells several listeners apart.
func (t *Telemetry) WatchListener(name string, listener interface{ Alive() (time.Time, error) }) error {
	up, err := t.meter.Int64ObservableGauge("postgresql.listener.up", metric.WithUnit("1"),
		metric.WithDescription("1 while notifications arrive."))
	if err != nil {
		return err
	}
	attributes := metric.WithAttributes(t.pool, attribute.String("postgresql.listener.name", name))
	return t.register(func(_ context.Context, observer metric.Observer) error {
		_, err := listener.Alive()
		observer.ObserveInt64(up, oneIf(err == nil), attributes)
		return nil
	}, up)
}

// WatchReplicas reports the replicas of a pgpool/replica cluster until Close: postgresql.replica.up
// is 1 while a replica is read from, and postgresql.replica.lag is how far it was behind, in
// seconds. While a lag is not known, it is not reported.
func (t *Telemetry) WatchReplicas(cluster interface{ Replicas() []replica.Status }) error {
	up, err := t.meter.Int64ObservableGauge("postgresql.replica.up", metric.WithUnit("1"),
		metric.WithDescription("1 while the replica is read from."))
	if err != nil {
		return err
	}
	lag, err := t.meter.Float64ObservableGauge("postgresql.replica.lag", metric.WithUnit("s"),
		metric.WithDescription("How far the replica was behind the primary."))
	if err != nil {
		return err
	}
	return t.register(func(_ context.Context, observer metric.Observer) error {
		for _, s := range cluster.Replicas() {
			attributes := metric.WithAttributes(t.pool, attribute.Int("postgresql.replica.number", s.Replica),
				attribute.String("server.address", s.Host), attribute.Int("server.port", int(s.Port)))
			observer.ObserveInt64(up, oneIf(s.Err == nil), attributes)
			if s.Lag >= 0 {
				observer.ObserveFloat64(lag, s.Lag.Seconds(), attributes)
			}
		}
		return nil
	}, up, lag)
}

// WatchDatabase reports the server's connection budget and the longest transactions of the pool's
// database until Close: postgresql.connection.count and .max, postgresql.transaction.age.max and
// .idle.max. Have one instance of a service do so, since all would report the same.
//
// Each collection runs one query on a connection of the pool, for a second at most. It runs none
// while all connections are in use, and reports nothing when the query fails. Sessions of other
// roles count, but how long their transactions last is visible to members of pg_monitor only.
func (t *Telemetry) WatchDatabase(pool *pgxpool.Pool) error {
	var errs []error
	number := func(name, description string) metric.Int64ObservableGauge {
		g, err := t.meter.Int64ObservableGauge("postgresql.connection."+name, metric.WithUnit("{connection}"),
			metric.WithDescription(description))
		errs = append(errs, err)
		return g
	}
	seconds := func(name, description string) metric.Float64ObservableGauge {
		g, err := t.meter.Float64ObservableGauge("postgresql.transaction."+name, metric.WithUnit("s"),
			metric.WithDescription(description))
		errs = append(errs, err)
		return g
	}
	used := number("count", "Connections of all clients of the server.")
	available := number("max", "Connections that ordinary roles may have.")
	age := seconds("age.max", "How long the oldest transaction of the database has lasted.")
	idle := seconds("idle.max", "How long a transaction of the database has done nothing.")
	if err := errors.Join(errs...); err != nil {
		return err
	}
	attributes := metric.WithAttributes(t.pool)
	return t.register(func(ctx context.Context, observer metric.Observer) error {
		if s := pool.Stat(); s.AcquiredConns() >= s.MaxConns() {
			return nil // a failed acquire would count as a timeout of the service
		}
		ctx, cancel := context.WithTimeout(ctx, databaseLimit)
		defer cancel()
		var connections, most int64
		var oldest, idlest float64
		if err := pool.QueryRow(ctx, databaseSQL).Scan(&connections, &most, &oldest, &idlest); err != nil {
			return nil // the pool's own metrics and logs tell of an outage
		}
		observer.ObserveInt64(used, connections, attributes)
		observer.ObserveInt64(available, most, attributes)
		observer.ObserveFloat64(age, oldest, attributes)
		observer.ObserveFloat64(idle, idlest, attributes)
		return nil
	}, used, available, age, idle)
}

// A role without pg_monitor sees a null backend_type in the rows of other roles.
const databaseSQL = `/* pgotel */
select count(*) filter (where coalesce(backend_type, 'client backend') = 'client backend'),
	current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
		- coalesce(current_setting('reserved_connections', true), '0')::bigint,
	coalesce(extract(epoch from max(clock_timestamp() - xact_start)
		filter (where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend')),
		0)::float8,
	coalesce(extract(epoch from max(clock_timestamp() - state_change)
		filter (where datname = current_database() and state like 'idle in transaction%')), 0)::float8
from pg_stat_activity`

func oneIf(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}
