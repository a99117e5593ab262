// Package scaling measures contention: transactions by workers and queries by connections.
package scaling

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtx"
)

// Comparison is the package's entry in the list of comparisons.
var Comparison = harness.Comparison{
	Name: "scaling", Rounds: 10, Run: run,
	Reasons: []harness.Reason{
		{
			Side: `^pgtx`,
			Why: "The cores are busy with the server's part when several run at a time, so that a saved round trip " +
				"saves little.",
		},
		{
			Side: `^pgpool`,
			Why:  "The hooks of acquire and release, and a tracer that looks at the time and error of each query.",
		},
	},
}

func run(ctx context.Context, r *harness.Report, rounds int) error {
	t := &harness.Test{Ctx: ctx}
	return t.Run(func() error {
		_, url := harness.StartServer(t, map[string]string{
			"max_connections": "500", "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
			"autovacuum": "off", "jit": "off",
		})
		if err := transactions(ctx, r, url, rounds); err != nil {
			return err
		}
		return queries(ctx, r, url, rounds)
	})
}

// transactions by workers, each with one statement on a row of the worker's own.
func transactions(ctx context.Context, r *harness.Report, url string, rounds int) error {
	const count = 512 // two for each worker at the maximum
	pool, err := harness.Pool(ctx, url, 16)
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, "create table counters (id int primary key, n bigint not null); "+
		"insert into counters select i, 0 from generate_series(1, 256) i"); err != nil {
		return err
	}
	update := func(ctx context.Context, tx pgx.Tx, id int) error {
		_, err := tx.Exec(ctx, "update counters set n = n + 1 where id = $1", id)
		return err
	}
	side := func(name string, workers int, op func(context.Context, int) error) harness.Side {
		return harness.Side{Name: name, Op: harness.InParallel(workers, count, op)}
	}
	for _, n := range []int{1, 4, 16, 64, 256} {
		err := r.Compare(ctx, fmt.Sprintf("%d transactions with one statement on 16 connections, %d workers", count, n),
			rounds, 1,
			side("pgx.BeginFunc", n, func(ctx context.Context, id int) error {
				return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return update(ctx, tx, id) })
			}),
			side("pgtx.Run", n, func(ctx context.Context, id int) error {
				return pgtx.Run(ctx, pool, func(ctx context.Context, tx pgx.Tx) error { return update(ctx, tx, id) })
			}))
		if err != nil {
			return err
		}
	}
	return nil
}

// queries by connections, of 64 callers.
func queries(ctx context.Context, r *harness.Report, url string, rounds int) error {
	const callers, count = 64, 1024
	cfg, err := pgconfig.Parse(url)
	if err != nil {
		return err
	}
	side := func(name string, pool *pgxpool.Pool) harness.Side {
		return harness.Side{Name: name, Op: harness.InParallel(callers, count, func(ctx context.Context, id int) error {
			return pool.QueryRow(ctx, "select n from counters where id = $1", id).Scan(new(int64))
		})}
	}
	for _, n := range []int{2, 8, 25, 50, 100} {
		theirs, err := harness.Pool(ctx, url, int32(n))
		if err != nil {
			return err
		}
		cfg.MaxConns = int32(n)
		ours, err := pgpool.Connect(ctx, cfg, pgpool.WithLogger(slog.New(slog.DiscardHandler)))
		if err == nil {
			title := fmt.Sprintf("%d short queries by %d callers, %d connections", count, callers, n)
			err = r.Compare(ctx, title, rounds, 1, side("pgxpool", theirs),
				side("pgpool.Connect", ours))
			ours.Close()
		}
		theirs.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
