// Package connect measures the start of a pool.
package connect

import (
	"context"
	"log/slog"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
)

// Comparison measures Connect on a running server.
var Comparison = harness.Comparison{
	Name: "connect", Rounds: 20, Run: run,
	Reasons: []harness.Reason{{
		Table: `^From nothing to a pool`, Side: `^pgpool`,
		Why: "Connect makes three connections where the peer makes one: one that finds out whether the server can " +
			"be used, and is closed again, and two idle ones, so that the first requests find them.",
	}},
}

var quiet = pgpool.WithLogger(slog.New(slog.DiscardHandler))

func run(ctx context.Context, r *harness.Report, rounds int) error {
	url, drop, err := harness.Database(ctx)
	if err != nil {
		return err
	}
	defer drop()
	cfg, err := pgconfig.Parse(url)
	if err != nil {
		return err
	}
	cfg.MinIdleConns, cfg.MaxConns = 2, 10 // as in production
	return r.Compare(ctx, "From nothing to a pool that has answered, and closed again", rounds, 5,
		harness.Side{Name: "pgxpool, one ping", Op: func(ctx context.Context) error {
			pool, err := pgxpool.New(ctx, url)
			if err != nil {
				return err
			}
			defer pool.Close()
			return pool.Ping(ctx)
		}},
		harness.Side{Name: "pgpool.Connect, two idle connections", Op: func(ctx context.Context) error {
			pool, err := pgpool.Connect(ctx, cfg, quiet)
			if err == nil {
				pool.Close()
			}
			return err
		}},
	)
}
