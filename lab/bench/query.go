package main

import (
	"context"
	"log/slog"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
)

// queries compares a pool with every default of pgpool with one that pgx makes by itself.
func queries(ctx context.Context, r *report, rounds int) error {
	url, drop, err := database(ctx)
	if err != nil {
		return err
	}
	defer drop()
	bare, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer bare.Close()
	cfg, err := pgconfig.Parse(url)
	if err != nil {
		return err
	}
	ours, err := pgpool.Connect(ctx, cfg, pgpool.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	defer ours.Close()

	query := func(pool *pgxpool.Pool) func(context.Context) error {
		return func(ctx context.Context) error {
			var one int
			return pool.QueryRow(ctx, "select 1").Scan(&one)
		}
	}
	if err := compare(ctx, r, "One query through the pool", rounds, 300, side{"pgxpool", query(bare)},
		side{"pgpool.Connect", query(ours)}); err != nil {
		return err
	}
	acquire := func(pool *pgxpool.Pool) func(context.Context) error {
		return func(ctx context.Context) error {
			conn, err := pool.Acquire(ctx)
			if err != nil {
				return err
			}
			conn.Release()
			return nil
		}
	}
	return compare(ctx, r, "Acquire and release", rounds, 3000, side{"pgxpool", acquire(bare)},
		side{"pgpool.Connect", acquire(ours)})
}
