package pghealth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// DefaultTimeout leaves 200 ms for the answer to arrive: Kubernetes gives a probe one second by
	// default.
	DefaultTimeout = 800 * time.Millisecond
	// DefaultMaxAge is short compared with the interval of probes (10 s by default in Kubernetes).
	// With it, a flood of probes costs the database one query a second.
	DefaultMaxAge = time.Second
	// DefaultWarnReplicaLag is far above the lag of a replica that keeps up, which is milliseconds.
	DefaultWarnReplicaLag = 10 * time.Second
)

// Options configures a probe. The zero value is ready for use with a primary.
type Options struct {
	// Name is the first part of the checks' names, before the colon: "postgres:connectivity". It
	// is public. Give each probe of a process its own name: a health.Checker keeps only the last
	// of equal names. It must not contain a colon. Defaults to "postgres".
	Name string

	// Timeout limits how long an answer waits for the database, and one query of the probe. It does
	// not limit connecting: an attempt that takes longer, up to 10 s, continues in the background
	// and serves the next answer. Set it below the timeout of the prober, and to several round
	// trips: half of it is for the primary's position, and five eighths for Schema. A negative
	// Timeout and one above an hour are errors. Defaults to DefaultTimeout.
	Timeout time.Duration

	// MaxAge is how long a result is served before the database is asked again. Negative: never;
	// callers that arrive while a query runs still share its result. Defaults to DefaultMaxAge.
	MaxAge time.Duration

	// AllowReadOnly accepts a session that cannot write: for a pool of read replicas, or for a
	// service that only reads. Otherwise such a session fails, because a service that stays on a
	// demoted primary answers reads and loses writes. Defaults to false.
	AllowReadOnly bool

	// WarnReplicaLag is the lag from which the check "replicaLag" warns. If it is negative, only
	// paused replay and an unknown lag warn. The check exists with AllowReadOnly or MaxReplicaLag.
	// Defaults to DefaultWarnReplicaLag.
	WarnReplicaLag time.Duration

	// MaxReplicaLag is the lag from which the check "replicaLag" fails. A lag that is only possible
	// warns: see Primary. Negative is an error. Defaults to none, because all instances share the
	// replica.
	MaxReplicaLag time.Duration

	// Primary is a pool that connects to the primary of a replica. The probe opens one connection
	// with its configuration, and compares the replica's position with the primary's. While the
	// primary cannot be asked, the log says so as check "primary", and its last position counts.
	//
	// Without it, the check fails only for data that the replica has received but not replayed, and
	// for a replica that has received nothing for MaxReplicaLag. The time since the last replayed
	// commit only warns, because the primary may be idle. Defaults to none.
	Primary *pgxpool.Pool

	// Listener reports whether notifications arrive; pgpool/listen's Listener fits. Without it
	// there is no check "listener". Defaults to none.
	Listener Listener

	// MaxListenerDown is how long the listener may be down before its check fails instead of
	// warning. Negative is an error. All instances lose their listeners at the same time, and
	// listeners reconnect on their own. Defaults to no limit.
	MaxListenerDown time.Duration

	// Schema reports the version of the database's schema; pgmigrate's Migrator fits. Without it
	// there is no check "schema". Defaults to none.
	Schema Schema

	// Logger gets a record when a check's status or category changes: a failure at level Error
	// with its cause, a warning at Warn, a recovery at Info. The cause may contain host, user and
	// database, never the password. Pass slog.New(slog.DiscardHandler) for none. Defaults to
	// slog.Default() at the time of New.
	Logger *slog.Logger
}

// Schema reports which version the database's schema has and which one this binary needs. The check
// fails if current is below needed, or if dirty is true: a migration stopped halfway. It passes if
// current is above needed, because old instances keep serving on the new schema during a rollout.
//
// SchemaVersion runs on the probe's own connection, so a saturated pool does not matter. It must
// not keep conn. ctx ends after five eighths of Options.Timeout; the server ends each statement
// after half, except behind a pooler. While SchemaVersion does not return, no other check can use
// the connection. It is not called concurrently. A panic in it fails the check.
type Schema interface {
	SchemaVersion(ctx context.Context, conn *pgx.Conn) (current, needed int64, dirty bool, err error)
}

// SchemaFunc makes a [Schema] of a function.
type SchemaFunc func(ctx context.Context, conn *pgx.Conn) (current, needed int64, dirty bool, err error)

// SchemaVersion calls f.
func (f SchemaFunc) SchemaVersion(ctx context.Context, conn *pgx.Conn) (current, needed int64, dirty bool, err error) {
	return f(ctx, conn)
}

// Listener reports whether notifications arrive.
//
// Alive returns nil while LISTEN works. Otherwise it returns the cause, and the time since when;
// the zero time means since the start. Alive should return at once; after Options.Timeout it counts
// as not alive. It is not called concurrently. A panic in it fails the check.
type Listener interface {
	Alive() (since time.Time, err error)
}

// ListenerFunc makes a [Listener] of a function.
type ListenerFunc func() (since time.Time, err error)

// Alive calls f.
func (f ListenerFunc) Alive() (since time.Time, err error) { return f() }

func (o Options) withDefaults() (Options, error) {
	if o.Name == "" {
		o.Name = "postgres"
	}
	switch {
	case !utf8.ValidString(o.Name):
		return o, fmt.Errorf("the name %q is not UTF-8: use another Options.Name", o.Name)
	case strings.Contains(o.Name, ":"):
		return o, fmt.Errorf("the name %q contains a colon: use another Options.Name", o.Name)
	case o.Timeout > time.Hour:
		return o, fmt.Errorf("the timeout is %v: make Options.Timeout an hour at most", o.Timeout)
	case o.Timeout < 0:
		return o, fmt.Errorf("the timeout is %v: make Options.Timeout positive, or 0 for %v", o.Timeout, DefaultTimeout)
	case o.MaxReplicaLag < 0, o.MaxListenerDown < 0:
		return o, errors.New("a limit is negative: set Options.MaxReplicaLag and MaxListenerDown to 0 for none")
	case (o.Primary != nil || o.WarnReplicaLag > 0) && !o.checksLag():
		return o, errors.New("there is no check of a replica's lag: set Options.AllowReadOnly or MaxReplicaLag, " +
			"or remove Primary and WarnReplicaLag")
	case o.MaxListenerDown > 0 && o.Listener == nil:
		return o, errors.New("there is no listener: set Options.Listener, or remove MaxListenerDown")
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.MaxAge == 0 {
		o.MaxAge = DefaultMaxAge
	}
	if o.WarnReplicaLag == 0 {
		o.WarnReplicaLag = DefaultWarnReplicaLag
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, nil
}

// checksLag reports whether the probe may meet a replica.
func (o Options) checksLag() bool { return o.AllowReadOnly || o.MaxReplicaLag > 0 }
