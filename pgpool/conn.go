package pgpool

import (
	"context"
	"errors"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgconfig"
)

// WithConfig gives a pool made by [ConnectConfig] what [Connect] takes from cfg beside its
// PoolConfig: the time limits, the thresholds for logging, whether PgBouncer is expected, and the
// password file. It is for cfg's ReplicaConfigs. Put it before the options that are to override it.
func WithConfig(cfg pgconfig.Config) Option { return fromConfig(cfg) }

// LoggerOf returns the logger that opts choose, never nil. It is for packages that take options of
// this one and log something of their own.
func LoggerOf(opts ...Option) *slog.Logger { return newSettings(opts).logger }

// ConnectOne makes one connection that belongs to no pool, for what must not depend on a pool's
// being busy, such as looking after a server's health. It tries once, for at most ctx and the
// configuration's ConnectTimeout, [DefaultConnectTimeout] without one. [WithPassword],
// [WithKeepAlive] and [WithConfig] apply; other options do nothing here. It works on a copy of cfg.
// The caller closes the connection.
func ConnectOne(ctx context.Context, cfg *pgx.ConnConfig, opts ...Option) (*pgx.Conn, error) {
	if cfg == nil || cfg.Host == "" {
		return nil, errors.New("connect: the configuration is incomplete: make it with pgconfig or pgx.ParseConfig")
	}
	cfg = cfg.Copy()
	s := newSettings(opts)
	s.keepAlive.apply(cfg)
	if cfg.ConnectTimeout <= 0 {
		cfg.ConnectTimeout = DefaultConnectTimeout
	}
	if s.password != nil {
		if err := hookPassword(cfg, nil, s.password)(ctx, cfg); err != nil {
			return nil, err
		}
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, withoutPassword(err)
	}
	return conn, nil
}
