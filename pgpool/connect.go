package pgpool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool/internal/option"
)

// Connect returns a pool that has reached the database and holds cfg.MinIdleConns open connections.
//
// Connect blocks until then. If the database is not there yet (refused, reset, not resolvable, not
// answering, starting up, out of connection slots), Connect tries again after a random wait that
// grows to 250 ms, or to 2 s while the server is out of slots, because each refusal costs the
// server a process. It gives up when cfg.StartupTimeout or ctx ends. It gives up at once if waiting
// cannot help: a wrong password, a missing database, an unknown setting, a certificate that does
// not verify. Either way the error is a [*StartupError]. Failed attempts are logged as warnings.
//
// Connect reads the server's limits back, and logs a warning about those that are not in effect:
// PgBouncer refuses or drops them. A default limit does not overrule a stricter one of the server,
// its role or its database, which a second connection finds out. If PgBouncer is found and the
// configuration does not name it, the pool uses no named prepared statements.
//
// Queries on the pool wait at most cfg.AcquireTimeout for a connection: see [AcquireError].
//
// The caller ends the pool with [Shutdown]. If cfg describes no pool, the error is pgconfig's.
func Connect(ctx context.Context, cfg pgconfig.Config, opts ...Option) (*pgxpool.Pool, error) {
	poolConfig, err := cfg.PoolConfig()
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	configured := option.FromConfig(cfg, poolConfig.ConnConfig)
	return connect(ctx, poolConfig, newSettings(append([]Option{configured}, opts...)))
}

// ConnectConfig is [Connect] for a configuration made by [pgxpool.ParseConfig]. It works on a copy.
// What is not set in it becomes what [Connect] has by default: ConnectTimeout, PingTimeout, a tenth
// of MaxConnLifetime as its jitter, [DefaultServerLimits] among the RuntimeParams,
// [DefaultKeepAlive]. The hooks in it stay and run together with this package's. Limits that a
// pgxpool.Config has no field for are options.
func ConnectConfig(ctx context.Context, cfg *pgxpool.Config, opts ...Option) (*pgxpool.Pool, error) {
	// pgxpool panics on a Config that ParseConfig did not make. HealthCheckPeriod is zero in such a
	// Config.
	if cfg == nil || cfg.ConnConfig == nil || cfg.HealthCheckPeriod <= 0 {
		return nil, errors.New("connect: the pool configuration is incomplete: make it with pgxpool.ParseConfig and " +
			"change that")
	}
	cfg = cfg.Copy()
	if cfg.ConnConfig.ConnectTimeout <= 0 {
		cfg.ConnConfig.ConnectTimeout = DefaultConnectTimeout
	}
	if cfg.PingTimeout <= 0 {
		cfg.PingTimeout = DefaultPingTimeout
	}
	if cfg.MaxConnLifetimeJitter <= 0 {
		cfg.MaxConnLifetimeJitter = cfg.MaxConnLifetime / 10 // as pgconfig: all at once is a storm of connects
	}
	return connect(ctx, cfg, newSettings(opts))
}

func connect(ctx context.Context, cfg *pgxpool.Config, s *option.Settings) (*pgxpool.Pool, error) {
	o := observe(cfg, s)
	hookError(cfg.ConnConfig)
	s.KeepAlive.Apply(cfg.ConnConfig)
	o.hook(cfg)

	start := newStartup(ctx, cfg, s)
	defer start.cancel()
	start.applyLimits()
	if err := start.waitForDatabase(); err != nil {
		return nil, err
	}
	start.yieldToServer()
	start.checkServer()

	// The pool is made only now, because it starts to open its idle connections at once and does
	// not report how that went.
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	o.pool.Store(pool)
	if o.metrics != nil {
		o.metrics.Gauges(func() Gauges { return o.gauges(pool) })
	}
	if err := start.warm(pool); err != nil {
		go pool.Close() // waits for connects under way, at most their ConnectTimeout
		return nil, err
	}
	s.Logger.InfoContext(ctx, "database connected",
		"attempts", start.attempts, "duration", time.Since(start.began).Round(time.Millisecond),
		"host", cfg.ConnConfig.Host, "port", cfg.ConnConfig.Port, "database", cfg.ConnConfig.Database,
		"server_version", start.server.Version, "standby", start.server.Standby, "pgbouncer", start.server.Pooled,
		"max_conns", cfg.MaxConns)
	return pool, nil
}
