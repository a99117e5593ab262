package pghealth

import (
	"fmt"
	"log/slog"
	"strings"
	"time"
)

const (
	// DefaultTimeout leaves an answer 200 ms to arrive within the one second that Kubernetes gives
	// a probe by default.
	DefaultTimeout = 800 * time.Millisecond
	// DefaultMaxAge is short against the interval of probes (Kubernetes' default is 10 s) and makes
	// a flood of them cost the database one query a second.
	DefaultMaxAge = time.Second
)

// Options says how a probe works. The zero value is ready for use against a primary.
type Options struct {
	// Name is the first part of the checks' names, before the colon: "postgres:connectivity". It is
	// in the public answer. Give each probe its own where a process has several: a health.Checker
	// keeps only the last of equal names. It must not contain a colon. Default: "postgres".
	Name string

	// Timeout is how long an answer waits for the database. It is also the limit on one query of
	// the probe. It does not limit connecting: an attempt that takes longer, up to 10 s, goes on in
	// the background and serves the next probe, so that a slow handshake does not keep a service
	// down for ever. Set it below the timeout of whoever probes. Default: DefaultTimeout. Negative
	// is an error.
	Timeout time.Duration

	// MaxAge is how long the result of a query is given again before the next one. Default:
	// DefaultMaxAge. Negative: never; callers that come while a query runs still share its result.
	MaxAge time.Duration

	// AllowReadOnly makes a session that cannot write pass: for a pool of read replicas, or a
	// service that only reads. Otherwise it fails, because a service that was left behind on a
	// demoted primary answers reads and loses writes.
	AllowReadOnly bool

	// WarnReplicaLag and MaxReplicaLag are how far a replica may be behind before the check
	// "replicaLag" warns, and before it fails: from then on reads are too old for the service to
	// answer with. A lag that is not known fails too. Default: DefaultWarnReplicaLag (negative:
	// never), and none: all instances share the replica. The check exists with AllowReadOnly or
	// MaxReplicaLag.
	WarnReplicaLag, MaxReplicaLag time.Duration

	// WarnConnections is the share of the server's connections for ordinary roles (max_connections
	// without the reserved ones) that may be in use before the check "connections" warns. Default:
	// DefaultWarnConnections. Negative: no such check.
	WarnConnections float64

	// WarnTransactionAge and WarnIdleInTransaction are how long a transaction of this database may
	// be open, and a session idle in one, before the check "transactions" warns. Defaults:
	// DefaultWarnTransactionAge and DefaultWarnIdleInTransaction. Negative: no warning; both
	// negative: no such check. The probe sees the sessions of its own role, and others' only with
	// pg_read_all_stats (pg_monitor has it).
	WarnTransactionAge, WarnIdleInTransaction time.Duration

	// Listener is asked whether notifications arrive. Default: none, and no check "listener".
	Listener Listener

	// MaxListenerDown is for how long the listener may be down before its check fails instead of
	// warning. Default: it never fails, because all instances lose their listeners at the same
	// time, and those connect again by themselves.
	MaxListenerDown time.Duration

	// Pressure tells what Stat of the pool does not. It must not block. Default: none.
	Pressure func() Pressure

	// Token opens the verbose form of the handlers and of the ResultWriter, "?verbose" with the
	// header "Authorization: Bearer" and the token: host, port, user, database, server version,
	// SQLSTATE, pool figures. Fewer than 16 characters are an error. Default: none, and "?verbose"
	// means nothing.
	Token Token

	// Schema is asked for the version of the database's schema. Default: none, and no check
	// "schema".
	Schema Schema

	// Logger gets a record whenever a check's status or category changes: a failure at level Error
	// with its cause, a warning at Warn, a recovery at Info. The cause has host, user and database
	// in it, never the password. Default: slog.Default() at the time of New. For none, pass
	// slog.New(slog.DiscardHandler).
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if o.Name == "" {
		o.Name = "postgres"
	}
	if strings.Contains(o.Name, ":") {
		return o, fmt.Errorf("the name %q contains a colon, which separates it from the check's name: leave it out of Options.Name", o.Name)
	}
	if o.Timeout < 0 {
		return o, fmt.Errorf("the timeout is %v, and a probe without a limit would hang with the database: set Options.Timeout to a positive one, or 0 for %v",
			o.Timeout, DefaultTimeout)
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Token != "" && len(o.Token) < minToken {
		return o, fmt.Errorf("the token has %d characters: set Options.Token to at least %d random ones, such as crypto/rand.Text returns",
			len(o.Token), minToken)
	}
	if o.WarnConnections > 1 {
		return o, fmt.Errorf("%v is no share of the server's connections: set Options.WarnConnections to at most 1", o.WarnConnections)
	}
	if o.MaxAge == 0 {
		o.MaxAge = DefaultMaxAge
	}
	setDefault(&o.WarnConnections, DefaultWarnConnections)
	setDefault(&o.WarnTransactionAge, DefaultWarnTransactionAge)
	setDefault(&o.WarnIdleInTransaction, DefaultWarnIdleInTransaction)
	setDefault(&o.WarnReplicaLag, DefaultWarnReplicaLag)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, nil
}

func setDefault[T comparable](option *T, to T) {
	var zero T
	if *option == zero {
		*option = to
	}
}
