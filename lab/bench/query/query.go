// Package query compares a pool with pgpool's defaults with a plain pgxpool.
package query

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
)

// Comparison is the package's entry in the list of comparisons.
var Comparison = harness.Comparison{
	Name: "query", Rounds: 200, Run: run,
	Charts: []harness.Chart{{File: "query", Title: "A query through the pool", Panels: []harness.Panel{
		{Table: "One query through the pool", Heading: "one query"},
		{Table: "First use of a statement text", Heading: "first use of its text"},
		{Table: "Acquire and release", Heading: "acquire and release only"},
	}}},
	Reasons: []harness.Reason{
		{
			Table: `^Acquire and release`, Side: `^pgpool`,
			Why: "Every acquire makes a context with the acquire timeout, reads the clock and looks up what is " +
				"known of the connection: some 0.4 µs, little beside a query.",
		},
		{
			Side: `^pgpool`,
			Why: "The hooks of acquire and release, and a tracer that looks at the time and error of each query. " +
				"Far more than a few percent is a disturbed run.",
		},
	},
}

func run(ctx context.Context, r *harness.Report, rounds int) error {
	url, drop, err := harness.Database(ctx)
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
	var texts atomic.Int64
	for _, c := range []struct {
		title string
		ops   int
		op    func(context.Context, *pgxpool.Pool) error
	}{
		{"One query through the pool", 300, func(ctx context.Context, pool *pgxpool.Pool) error {
			return pool.QueryRow(ctx, "select 1").Scan(new(int))
		}},
		{"First use of a statement text", 20, func(ctx context.Context, pool *pgxpool.Pool) error {
			return pool.QueryRow(ctx, fmt.Sprintf("select 1 -- %d", texts.Add(1))).Scan(new(int))
		}},
		{"Acquire and release", 3000, func(ctx context.Context, pool *pgxpool.Pool) error {
			conn, err := pool.Acquire(ctx)
			if err == nil {
				conn.Release()
			}
			return err
		}},
	} {
		if err := r.Compare(ctx, c.title, rounds, c.ops,
			harness.Side{Name: "pgxpool", Op: func(ctx context.Context) error { return c.op(ctx, bare) }},
			harness.Side{Name: "pgpool.Connect", Op: func(ctx context.Context) error { return c.op(ctx, ours) }},
		); err != nil {
			return err
		}
	}
	return nil
}
