package scaling

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/lab/bench/database"
	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/lab/bench/migration"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtx"
)

// parallel returns a point at which count operations are run by a number of workers. Their ids are
// rows of the table counters.
func parallel(
	ctx context.Context, size, workers, atOnce, count int, names []string,
	op func(ctx context.Context, side, id int) error,
) *point {
	return &point{
		size: size, work: 1, atOnce: atOnce, ops: count, rows: harness.Rows(names...),
		time: func(side int) (time.Duration, error) {
			began := time.Now()
			err := harness.InParallel(workers, count, func(ctx context.Context, id int) error {
				return op(ctx, side, id)
			})(ctx)
			return time.Since(began) / time.Duration(count), err
		},
	}
}

// transactions by workers, each with one statement on a row of the worker's own.
func (b bench) transactions(ctx context.Context) error {
	const count = 512 // two for each of the most workers
	pool, err := harness.Pool(ctx, b.url, 16)
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, "create table counters (id int primary key, n bigint not null); "+
		"insert into counters select i, 0 from generate_series(1, 256) i"); err != nil {
		return err
	}
	c := &curve{what: "a transaction with one statement on 16 connections", unit: "workers", per: "transaction"}
	for _, n := range []int{1, 4, 16, 64, 256} {
		c.points = append(c.points, parallel(ctx, n, n, n, count, []string{"pgx.BeginFunc", "pgtx.Run"},
			func(ctx context.Context, side, id int) error {
				update := func(ctx context.Context, tx pgx.Tx) error {
					_, err := tx.Exec(ctx, "update counters set n = n + 1 where id = $1", id)
					return err
				}
				if side == 0 {
					return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return update(ctx, tx) })
				}
				return pgtx.Run(ctx, pool, update)
			}))
	}
	return b.measure(ctx, c, b.rounds)
}

// queries by connections, of which no more than callers can be in use.
func (b bench) queries(ctx context.Context) error {
	const callers, count = 64, 1024
	c := &curve{what: fmt.Sprintf("a short query by %d callers", callers), unit: "connections", per: "query"}
	cfg, err := pgconfig.Parse(b.url)
	if err != nil {
		return err
	}
	for _, n := range []int{2, 8, 25, 50, 100} {
		theirs, err := harness.Pool(ctx, b.url, int32(n))
		if err != nil {
			return err
		}
		defer theirs.Close()
		cfg.MaxConns = int32(n)
		ours, err := pgpool.Connect(ctx, cfg, pgpool.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			return err
		}
		defer ours.Close()
		pools := []*pgxpool.Pool{theirs, ours}
		c.points = append(c.points, parallel(ctx, n, callers, min(n, callers), count, []string{"pgxpool", "pgpool.Connect"},
			func(ctx context.Context, side, id int) error {
				return pools[side].QueryRow(ctx, "select n from counters where id = $1", id).Scan(new(int64))
			}))
	}
	return b.measure(ctx, c, b.rounds)
}

// migrations by their number, from an empty database and with nothing to do. Each tool has a
// database of its own for each number.
func (b bench) migrations(ctx context.Context) error {
	admin, err := pgx.Connect(ctx, b.url)
	if err != nil {
		return err
	}
	defer admin.Close(context.WithoutCancel(ctx))
	tools := slices.DeleteFunc(slices.Clone(migration.Tools), func(t migration.Tool) bool {
		return t.Name == "goose, session lock"
	})
	var names []string
	for _, t := range tools {
		names = append(names, t.Name)
	}
	fromEmpty := &curve{what: "migrations from an empty database", unit: "migrations", per: "migration"}
	nothing := &curve{what: "a start that finds nothing to do", unit: "migrations", per: "start"}
	for _, n := range []int{20, 100, 500} {
		statements := make([]string, n)
		for i := range statements {
			statements[i] = fmt.Sprintf("create table t%d (id bigint primary key, v text)", i)
		}
		up := func(i int) (time.Duration, error) {
			cfg := admin.Config()
			cfg.Database = fmt.Sprintf("migrated_%d_%d", i, n)
			began := time.Now()
			err := tools[i].Up(ctx, cfg, statements)
			return time.Since(began), err
		}
		fromEmpty.points = append(fromEmpty.points, &point{
			size: n, work: n, atOnce: 1, ops: 1, rows: harness.Rows(names...),
			time: func(i int) (time.Duration, error) {
				for _, sql := range []string{"drop database if exists %s with (force)", "create database %s"} {
					if _, err := admin.Exec(ctx, fmt.Sprintf(sql, fmt.Sprintf("migrated_%d_%d", i, n))); err != nil {
						return 0, err
					}
				}
				return up(i)
			},
		})
		nothing.points = append(nothing.points,
			&point{size: n, work: 1, atOnce: 1, ops: 1, rows: harness.Rows(names...), time: up})
	}
	if err := b.measure(ctx, fromEmpty, (b.rounds+1)/2); err != nil {
		return err
	}
	return b.measure(ctx, nothing, b.rounds) // on the databases that are left
}

// databases for tests, by how many tests run at the same time. Their server is the throw-away one,
// because pgtest is used as it is.
func (b bench) databases(ctx context.Context) error {
	server, err := pgserver.Acquire(ctx, pgserver.Options{})
	if err != nil {
		return err
	}
	defer server.Release()
	ways, err := database.Ways(ctx, server)
	if err != nil {
		return err
	}
	var names []string
	for _, w := range ways {
		names = append(names, w.Name)
	}
	c := &curve{what: "a test database with a query and its drop", unit: "tests at a time", per: "test"}
	for _, n := range []int{1, 4, 16, 64} {
		tests := max(n, 16)
		c.points = append(c.points, &point{
			size: n, work: 1, atOnce: n, ops: tests, rows: harness.Rows(names...),
			time: func(i int) (time.Duration, error) { return ways[i].Many(ctx, n, tests) },
		})
	}
	return b.measure(ctx, c, (b.rounds+1)/2)
}
