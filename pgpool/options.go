package pgpool

import (
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgconfig"
)

// The limits of a pool made by [ConnectConfig] without the option that sets them; [Connect] takes them from its Config.
const (
	// DefaultStartupTimeout outlasts a restart or failover of the database, and stays below the minutes after which
	// orchestrators give up on a container.
	DefaultStartupTimeout = 60 * time.Second
	// DefaultAcquireTimeout is long for a pool that is merely busy and short for a person who waits for a page.
	DefaultAcquireTimeout = 5 * time.Second
	// DefaultConnectTimeout replaces the two minutes that pgxpool takes where ConnConfig.ConnectTimeout is not set.
	DefaultConnectTimeout = 5 * time.Second
)

// Option changes how [Connect] and [ConnectConfig] build a pool.
type Option func(*settings)

type settings struct {
	logger         *slog.Logger
	tracers        []pgx.QueryTracer
	startupTimeout time.Duration
	acquireTimeout time.Duration
	slowQuery      time.Duration
}

// WithLogger sets where attempts to connect and slow queries are logged. Default: [slog.Default] at the time of the
// call. nil logs nothing.
func WithLogger(logger *slog.Logger) Option {
	return func(s *settings) {
		if logger == nil {
			logger = slog.New(slog.DiscardHandler)
		}
		s.logger = logger
	}
}

// WithTracer adds a tracer, such as otelpgx's. It may implement any of pgx's and pgxpool's tracer interfaces. The tracer
// that the ConnConfig already has stays, and further WithTracer options add further ones. Default: none.
func WithTracer(tracer pgx.QueryTracer) Option {
	return func(s *settings) {
		if tracer != nil {
			s.tracers = append(s.tracers, tracer)
		}
	}
}

// WithStartupTimeout sets how long to keep trying to reach the database before giving up. 0 or less: until ctx ends.
// Default: [DefaultStartupTimeout], for [Connect] its Config's StartupTimeout.
func WithStartupTimeout(limit time.Duration) Option {
	return func(s *settings) { s.startupTimeout = limit }
}

// WithAcquireTimeout sets how long the pool's methods wait for a connection before they fail with an [*AcquireError]. It
// does not limit what is then done on the connection. 0 or less: no limit but ctx's.
// Default: [DefaultAcquireTimeout], for [Connect] its Config's AcquireTimeout.
func WithAcquireTimeout(limit time.Duration) Option {
	return func(s *settings) { s.acquireTimeout = limit }
}

// WithSlowQuery sets the duration from which a query, batch or copy is logged as slow, with its SQL and without its
// arguments. It counts from sending to closing the rows, so it includes the time the caller takes to read them.
// 0 or less: off. Default: off, for [Connect] its Config's SlowQuery.
func WithSlowQuery(threshold time.Duration) Option {
	return func(s *settings) { s.slowQuery = threshold }
}

func newSettings(opts []Option) *settings {
	s := &settings{
		logger:         slog.Default(),
		startupTimeout: DefaultStartupTimeout,
		acquireTimeout: DefaultAcquireTimeout,
	}
	for _, opt := range opts {
		if opt != nil {
			opt(s)
		}
	}
	return s
}

// fromConfig is the option that carries what an operator set. It goes first, so that options override it.
func fromConfig(cfg pgconfig.Config) Option {
	return func(s *settings) {
		s.startupTimeout = cfg.StartupTimeout
		s.acquireTimeout = cfg.AcquireTimeout
		s.slowQuery = cfg.SlowQuery
	}
}
