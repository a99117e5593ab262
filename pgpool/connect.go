package pgpool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/multitracer"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgconfig"
)

// Connect returns a pool that has reached the database and holds cfg.MinIdleConns open connections.
//
// A database that is not there yet (refused, reset, not resolvable, not answering, starting up, out of connection
// slots) is tried again, with waits that grow to 250 ms at most, drawn at random so that the instances of a service do
// not come in step. Connect gives up when cfg.StartupTimeout or ctx ends. Where waiting cannot help (wrong password,
// missing database, unknown setting, a certificate that does not verify), it gives up at once. Either way the error is
// a [*StartupError] with the last error of the database and what to do. Each failed attempt is logged as a warning.
//
// Queries on the pool wait at most cfg.AcquireTimeout for a connection: see [AcquireError].
//
// The caller ends the pool with [Shutdown]. cfg comes from package pgconfig; a cfg that describes no pool is an error
// of pgconfig's.
func Connect(ctx context.Context, cfg pgconfig.Config, opts ...Option) (*pgxpool.Pool, error) {
	poolConfig, err := cfg.PoolConfig()
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return connect(ctx, poolConfig, newSettings(append([]Option{fromConfig(cfg)}, opts...)))
}

// ConnectConfig is [Connect] for a configuration made by [pgxpool.ParseConfig]. It works on a copy. A ConnectTimeout
// that is not set becomes [DefaultConnectTimeout]; nothing else in it is changed. Limits that a pgxpool.Config has no
// field for are options.
func ConnectConfig(ctx context.Context, cfg *pgxpool.Config, opts ...Option) (*pgxpool.Pool, error) {
	// pgxpool panics on a Config that ParseConfig has not made, now or later; its zero values give such a one away.
	if cfg == nil || cfg.ConnConfig == nil || cfg.HealthCheckPeriod <= 0 {
		return nil, errors.New("connect: the pool configuration is incomplete: make it with pgxpool.ParseConfig and change that")
	}
	cfg = cfg.Copy()
	if cfg.ConnConfig.ConnectTimeout <= 0 {
		cfg.ConnConfig.ConnectTimeout = DefaultConnectTimeout
	}
	return connect(ctx, cfg, newSettings(opts))
}

func connect(ctx context.Context, cfg *pgxpool.Config, s *settings) (*pgxpool.Pool, error) {
	s.trace(cfg)
	start := newStartup(ctx, cfg, s)
	defer start.cancel()
	if err := start.waitForDatabase(); err != nil {
		return nil, err
	}

	// The pool is made only now: it would start connecting for its idle connections by itself, without telling anybody
	// how that went.
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if err := start.warm(pool); err != nil {
		go pool.Close() // waits for connects under way, at most their ConnectTimeout
		return nil, err
	}
	s.logger.InfoContext(ctx, "database connected",
		"attempts", start.attempts, "duration", time.Since(start.began).Round(time.Millisecond),
		"host", cfg.ConnConfig.Host, "port", cfg.ConnConfig.Port, "database", cfg.ConnConfig.Database,
		"max_conns", cfg.MaxConns)
	return pool, nil
}

// trace composes the tracers: the configuration's own, the options', and ours.
func (s *settings) trace(cfg *pgxpool.Config) {
	tracers := s.tracers
	if own := cfg.ConnConfig.Tracer; own != nil {
		tracers = append(tracers[:len(tracers):len(tracers)], own)
	}
	if s.slowQuery > 0 {
		tracers = append(tracers[:len(tracers):len(tracers)], &slowQuery{threshold: s.slowQuery, logger: s.logger})
	}
	all := multitracer.New(tracers...)
	if s.acquireTimeout > 0 {
		// Last, so that it is our context whose Err the pool returns, whatever the others wrap around theirs.
		all.PoolAcquireTracers = append(all.PoolAcquireTracers, &acquireLimit{limit: s.acquireTimeout})
	}
	cfg.ConnConfig.Tracer = all
}
