package pgpool

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool/internal/dial"
	"github.com/page-builder/persistence/pgpool/internal/option"
)

// The limits of a pool made by [ConnectConfig] without the option that sets them. [Connect] takes
// them from its Config.
const (
	// DefaultStartupTimeout is longer than a restart or failover of the database, and shorter than
	// the minutes after which orchestrators give up on a container.
	DefaultStartupTimeout = 60 * time.Second
	// DefaultAcquireTimeout is long for a busy pool and short for a person in front of a page.
	DefaultAcquireTimeout = 5 * time.Second
	// DefaultConnectTimeout replaces the two minutes that pgxpool takes if
	// ConnConfig.ConnectTimeout is not set.
	DefaultConnectTimeout = 5 * time.Second
	// DefaultPingTimeout replaces pgxpool's default, no limit: an unresponsive server would keep an
	// idle connection forever.
	DefaultPingTimeout = 2 * time.Second
	// DefaultLeakThreshold is longer than a request takes.
	DefaultLeakThreshold = 2 * time.Minute
)

// KeepAlive says when TCP gives up on a peer that vanished. The zero value leaves sockets as they
// were dialed.
type KeepAlive = pgconfig.KeepAlive

// DefaultKeepAlive is the default of [ConnectConfig], and pgconfig's: TCP finds a peer that
// vanished within a minute.
var DefaultKeepAlive = KeepAlive{Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3, UserTimeout: time.Minute}

// Option changes how [Connect] and [ConnectConfig] build a pool.
type Option func(*option.Settings)

// WithLogger sets where attempts to connect, slow and failed queries, leaks and changes of the
// server's role are logged. nil logs nothing.
//
// Failures that a program is written to meet (constraints, serialization failures, cancellations)
// are logged at debug level, all others as warnings. SQL is logged without arguments. Defaults to
// [slog.Default] at the time of the call.
func WithLogger(logger *slog.Logger) Option {
	return func(s *option.Settings) {
		if logger == nil {
			logger = slog.New(slog.DiscardHandler)
		}
		s.Logger = logger
	}
}

// WithTracer adds a tracer, such as otelpgx's. It may implement any of pgx's and pgxpool's tracer
// interfaces. The tracer that the ConnConfig already has stays, and further WithTracer options add
// further ones. Defaults to none.
func WithTracer(tracer pgx.QueryTracer) Option {
	return func(s *option.Settings) {
		if tracer != nil {
			s.Tracers = append(s.Tracers, tracer)
		}
	}
}

// WithStartupTimeout limits how long to keep trying to reach the database. 0 or less: until ctx
// ends. Defaults to [DefaultStartupTimeout], and for [Connect] to its Config's StartupTimeout.
func WithStartupTimeout(limit time.Duration) Option {
	return func(s *option.Settings) { s.StartupTimeout = limit }
}

// WithAcquireTimeout limits how long the pool's methods wait for a connection before they fail with
// an [*AcquireError]. It does not limit what is then done on the connection. 0 or less: no limit
// but ctx's, whose error then is no AcquireError. Defaults to [DefaultAcquireTimeout], and for
// [Connect] to its Config's AcquireTimeout.
func WithAcquireTimeout(limit time.Duration) Option {
	return func(s *option.Settings) { s.AcquireTimeout = limit }
}

// WithLeakThreshold sets how long a connection may be held before it is logged as perhaps leaked,
// once, with the last statement. For ten thresholds after such a report the pool records the stack
// of every acquire, which costs a few microseconds, so that the next report names its place in the
// code. The return of a connection that was reported is logged too. 0 or less: off. Defaults to
// [DefaultLeakThreshold], and for [Connect] to its Config's LeakThreshold.
func WithLeakThreshold(threshold time.Duration) Option {
	return func(s *option.Settings) { s.LeakThreshold = threshold }
}

// WithServerLimits sets the limits that the server keeps for the pool's sessions, in place of those
// in the configuration. A PgBouncer that refuses them gets none, with a warning. Defaults to
// [DefaultServerLimits] for those that the configuration does not set, and for [Connect] to its
// Config's.
func WithServerLimits(limits ServerLimits) Option {
	return func(s *option.Settings) { s.Limits, s.LimitsChosen = limits.values(), true }
}

// WithKeepAlive sets the socket options of TCP connections, whatever dialed them. Defaults to
// [DefaultKeepAlive], and for [Connect] to the zero value, because pgconfig applies its Config's.
func WithKeepAlive(keepAlive KeepAlive) Option {
	return func(s *option.Settings) { s.KeepAlive = keepAlive }
}

// WithPassword sets where the password of each new connection comes from, such as a cloud's token
// service or a vault. The pool calls source before every connect, from several goroutines at once,
// with a context that ends after the connect timeout. source should cache what is still valid. Its
// error fails the connect and is logged, so it must hold no secret. The pool's BeforeConnect hook
// runs after it.
//
// Defaults to none, and for [Connect] to DATABASE_PASSWORD_FILE or DATABASE_URL_FILE, read again
// for each connection, if one of them is set.
func WithPassword(source func(ctx context.Context) (string, error)) Option {
	return func(s *option.Settings) { s.Password = dial.PasswordOnly(source) }
}

// WithMetrics sets what receives the pool's figures. Defaults to none.
func WithMetrics(metrics Metrics) Option {
	return func(s *option.Settings) { s.Metrics = metrics }
}

// WithTypes registers types of the database with every connection, so that pgx encodes and decodes
// them: enums, composites, domains and ranges, and their arrays. A name may have a schema, as in
// "geo.point". Types of extensions, such as "vector" and "citext", are exchanged as text, hstore
// and ltree as pgx does. Name the type of an extension before types that are made of it. A type
// that pgx knows stays as it is.
//
// The pool looks the types up once, on its first connection, and again after it has lost a
// connection. A type that does not exist is a [*StartupError] at the start. Later it is logged, and
// the others are registered. Further WithTypes options add further types. Defaults to none.
func WithTypes(names ...string) Option {
	return func(s *option.Settings) { s.Types = append(s.Types, names...) }
}

// WithAfterConnect adds a function that is called with every new connection of the pool before it
// is used, such as to set a role or to register types. It runs after the pgxpool.Config's own
// AfterConnect. Its error fails the connect. Defaults to none.
func WithAfterConnect(prepare func(ctx context.Context, conn *pgx.Conn) error) Option {
	return func(s *option.Settings) {
		if prepare != nil {
			s.AfterConnect = append(s.AfterConnect, prepare)
		}
	}
}

// WithSlowQuery sets the duration from which a query, batch or copy is logged as slow, with its SQL
// and without its arguments. It counts from sending to closing the rows, so it includes the time
// the caller takes to read them. 0 or less: off. Defaults to off, and for [Connect] to its Config's
// SlowQuery.
func WithSlowQuery(threshold time.Duration) Option {
	return func(s *option.Settings) { s.SlowQuery = threshold }
}

func newSettings(opts []Option) *option.Settings {
	s := &option.Settings{
		Logger:         slog.Default(),
		StartupTimeout: DefaultStartupTimeout,
		AcquireTimeout: DefaultAcquireTimeout,
		LeakThreshold:  DefaultLeakThreshold,
		Limits:         DefaultServerLimits.values(),
		KeepAlive:      DefaultKeepAlive,
	}
	for _, opt := range opts {
		if opt != nil {
			opt(s)
		}
	}
	return s
}
