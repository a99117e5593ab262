// Package chaos loads a PostgreSQL cluster as services built with this repository's modules do,
// breaks parts of it, and compares what the clients were told with what is there in the end.
//
// A round is one fault. Everything that a service has runs in this process, and is not restarted: a
// pool and its replicas by pgpool, transactions by pgtx, a listener, a readiness probe, a
// migration. Beside it runs a control, plain pgx with a naive retry, and a floor, fresh connections
// to each node that tell when the cluster itself takes writes again.
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
	// Primary returns the URL of the server that is primary now. It waits for one until ctx ends.
	Primary func(ctx context.Context) (string, error)
	// Ready waits until the system is whole again, or ctx ends. nil: it is when it takes writes.
	Ready func(ctx context.Context) error
	// Mend does what an operator does for servers that do not come back by themselves. nil:
	// nothing.
	Mend func(ctx context.Context) error
}

// Environ are the limits of the service under test, as an operator sets them who wants failovers to
// be short: the defaults but for these.
func Environ() map[string]string {
	return map[string]string{
		"APP_ENV":                   "test",
		"DATABASE_POOL_MAX_CONNS":   "20",
		"DATABASE_CONNECT_TIMEOUT":  "1s",    // a frozen node takes connections and does not answer
		"DATABASE_PING_TIMEOUT":     "500ms", // the same, of those that were idle
		"DATABASE_ACQUIRE_TIMEOUT":  "2s",
		"DATABASE_APPLICATION_NAME": "chaos",
	}
}

// Fault is the fault of a round.
type Fault struct {
	Name string
	// Inject brings it about.
	Inject func(ctx context.Context) error
	// Hold is how long it lasts at least, before Repair.
	Hold time.Duration
	// Heals says that writes come back without Repair, which waits for them then.
	Heals bool
	// Repair puts right what the fault broke. nil: there is nothing to do.
	Repair func(ctx context.Context) error
}

// Options change a round. The zero value is for use.
type Options struct {
	// Calm is how long the load runs before the fault and after its end. Default: 2 s.
	Calm time.Duration
	// Logger gets what the modules log. Default: none.
	Logger *slog.Logger
	// Log gets a line for each step of the round. Default: none.
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
