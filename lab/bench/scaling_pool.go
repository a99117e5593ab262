package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtx"
)

// measuredTransactions is how many a measurement consists of: two for each of the most workers.
const measuredTransactions = 512

// transactions by workers, each with one statement on a row of the worker's own.
func (g growth) transactions(ctx context.Context) error {
	pool, err := configured(ctx, g.url, func(c *pgxpool.Config) { c.MaxConns = 16 })
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, "insert into counters select i, 0 from generate_series(65, 256) i"); err != nil {
		return err
	}
	c := &curve{what: "a transaction with one statement on 16 connections", unit: "workers", per: "transaction"}
	var loads []load
	for _, n := range g.sizes(1, 4, 16, 64, 256) {
		loads = append(loads, load{size: n, work: 1, atOnce: n}.of(ctx, 1, measuredTransactions, []side{
			{"pgx.BeginFunc", inParallel(n, measuredTransactions, func(ctx context.Context, id int) error {
				return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return updateRow(ctx, tx, id) })
			})},
			{"pgtx.Run", inParallel(n, measuredTransactions, func(ctx context.Context, id int) error {
				return pgtx.Run(ctx, pool, func(ctx context.Context, tx pgx.Tx) error { return updateRow(ctx, tx, id) })
			})},
		}))
	}
	if err := g.measure(ctx, c, g.url, g.share(5), loads); err != nil {
		return err
	}
	c.summary(g.report)
	return nil
}

// pools by connections, of which no more than callers can be in use.
func (g growth) pools(ctx context.Context) error {
	const callers, queries = 64, 1024
	c := &curve{what: fmt.Sprintf("a short query by %d callers", callers), unit: "connections", per: "query"}
	cfg, err := pgconfig.Parse(g.url)
	if err != nil {
		return err
	}
	query := func(pool *pgxpool.Pool) func(context.Context) error {
		return inParallel(callers, queries, func(ctx context.Context, id int) error {
			var n int64
			return pool.QueryRow(ctx, "select n from counters where id = $1", id).Scan(&n)
		})
	}
	var loads []load
	for _, n := range g.sizes(2, 8, 25, 50, 100) {
		most := int32(n) // at most 100
		theirs, err := configured(ctx, g.url, func(c *pgxpool.Config) { c.MaxConns = most })
		if err != nil {
			return err
		}
		defer theirs.Close()
		cfg.MaxConns = most
		ours, err := pgpool.Connect(ctx, cfg, quiet)
		if err != nil {
			return err
		}
		defer ours.Close()
		loads = append(loads, load{size: n, work: 1, atOnce: min(n, callers)}.of(ctx, 1, queries, []side{
			{"pgxpool", query(theirs)}, {"pgpool.Connect", query(ours)},
		}))
	}
	if err := g.measure(ctx, c, g.url, g.share(5), loads); err != nil {
		return err
	}
	c.summary(g.report)
	return nil
}
