// Package chaos loads a PostgreSQL cluster in the same way as services built with this repository's
// modules, breaks parts of it, and compares what the clients were told with the final state of the
// database.
//
// A round is one fault. Everything a service needs runs in this process and is never restarted: a
// pool and its replicas by pgpool, transactions by pgtx, a listener, a readiness probe, a
// migration. A control (plain pgx with a naive retry) runs at the same time. So does a floor: fresh
// connections to each node, which show when the cluster itself takes writes again.
package chaos

import (
	"context"
	"io"
	"log/slog"
	"time"
)

// System is the system under load.
type System struct {
	// Environ is the configuration of a service, as package pgconfig reads it: DATABASE_URL,
	// DIRECT_DATABASE_URL, DATABASE_REPLICA_URLS, DATABASE_PGBOUNCER. What it lacks of the limits
	// in [Environ] is added.
	Environ map[string]string
	// Nodes are the URLs of the servers themselves.
	Nodes []string
	// Primary returns the URL of the current primary. It waits for one until ctx ends.
	Primary func(ctx context.Context) (string, error)
	// Ready waits until the system has recovered, or ctx ends. nil: it has when it takes writes.
	Ready func(ctx context.Context) error
	// Mend repairs servers that do not come back on their own, as an operator would. nil: nothing
	// to do.
	Mend func(ctx context.Context) error
}

// Environ has the limits of the service under test, set by an operator who wants short failovers.
// All others are the defaults.
func Environ() map[string]string {
	return map[string]string{
		"APP_ENV":                   "test",
		"DATABASE_POOL_MAX_CONNS":   "20",
		"DATABASE_CONNECT_TIMEOUT":  "1s",    // a frozen node takes connections and does not answer
		"DATABASE_PING_TIMEOUT":     "500ms", // the same for idle connections
		"DATABASE_ACQUIRE_TIMEOUT":  "2s",
		"DATABASE_APPLICATION_NAME": "chaos",
	}
}

// Fault is the fault of a round.
type Fault struct {
	Name string
	// Inject causes the fault.
	Inject func(ctx context.Context) error
	// Hold is the minimum time between Inject and Repair.
	Hold time.Duration
	// Heals says that writes come back without Repair. Repair then waits for them.
	Heals bool
	// Repair repairs what the fault broke. nil: nothing to do.
	Repair func(ctx context.Context) error
}

// Options change a round. The zero value works.
type Options struct {
	// Calm sets how long the load runs before and after the fault. Defaults to 2 s.
	Calm time.Duration
	// Logger receives what the modules log. Defaults to none.
	Logger *slog.Logger
	// Log receives a line for each step of the round. Defaults to none.
	Log io.Writer
}

func (o Options) withDefaults() Options {
	if o.Calm == 0 {
		o.Calm = 2 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	return o
}
