package pghealth

import (
	"fmt"
	"log/slog"
	"strings"
	"time"
)

const (
	// DefaultTimeout leaves an answer 200 ms to arrive within the one second that Kubernetes gives a probe by default.
	DefaultTimeout = 800 * time.Millisecond
	// DefaultMaxAge is short against the interval of probes (Kubernetes' default is 10 s) and makes a flood of them cost
	// the database one query a second.
	DefaultMaxAge = time.Second
)

// Options says how a probe works. The zero value is ready for use against a primary.
type Options struct {
	// Name is the first part of the checks' names, before the colon: "postgres:connectivity". It is in the public answer.
	// Give each probe its own where a process has several: a health.Checker keeps only the last of equal names. It must
	// not contain a colon. Default: "postgres".
	Name string

	// Timeout is how long an answer waits for the database. It is also the limit on one query of the probe. It does not
	// limit connecting: an attempt that takes longer, up to 10 s, goes on in the background and serves the next probe, so
	// that a slow handshake does not keep a service down for ever. Set it below the timeout of whoever probes.
	// Default: DefaultTimeout. Negative is an error.
	Timeout time.Duration

	// MaxAge is how long the result of a query is given again before the next one. Default: DefaultMaxAge. Negative:
	// never; callers that come while a query runs still share its result.
	MaxAge time.Duration

	// AllowReadOnly makes a session that cannot write pass: for a pool of read replicas, or a service that only reads.
	// Otherwise it fails, because a service that was left behind on a demoted primary answers reads and loses writes.
	AllowReadOnly bool

	// Schema is asked for the version of the database's schema. Default: none, and no check "schema".
	Schema Schema

	// Logger gets a record whenever a check's status or category changes: a failure at level Error with its cause, a
	// warning at Warn, a recovery at Info. The cause has host, user and database in it, never the password.
	// Default: slog.Default() at the time of New. For none, pass slog.New(slog.DiscardHandler).
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
	if o.MaxAge == 0 {
		o.MaxAge = DefaultMaxAge
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, nil
}
