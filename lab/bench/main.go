// Command bench compares the modules with their alternatives, side by side in one process.
//
//	go run . [-rounds N] [-results DIR] [-ten-million] [name ...]
//
// In each round every side of a comparison runs, in random order, so that a slower machine slows
// all of them. A figure is the median of the rounds. A ratio is the median of the rounds' ratios,
// which on a shared machine means more than a time. It prints Markdown; -results also writes
// DIR/RESULTS.md, with charts, after each comparison.
//
// If a side or a comparison fails, it is reported with the reason, and the others go on. Then the
// exit status is 1.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/page-builder/persistence/lab/bench/backfill"
	"github.com/page-builder/persistence/lab/bench/connect"
	"github.com/page-builder/persistence/lab/bench/database"
	"github.com/page-builder/persistence/lab/bench/fault"
	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/lab/bench/health"
	"github.com/page-builder/persistence/lab/bench/list"
	"github.com/page-builder/persistence/lab/bench/migration"
	"github.com/page-builder/persistence/lab/bench/prisma"
	"github.com/page-builder/persistence/lab/bench/query"
	"github.com/page-builder/persistence/lab/bench/river"
	"github.com/page-builder/persistence/lab/bench/scaling"
	"github.com/page-builder/persistence/lab/bench/storm"
	"github.com/page-builder/persistence/lab/bench/transaction"
)

// comparisons in the order in which they run.
var comparisons = []harness.Comparison{
	query.Comparison, list.Comparison, transaction.Comparison, database.Comparison, connect.Comparison,
	migration.Comparison, backfill.Comparison, prisma.Comparison, river.Comparison, storm.Comparison, fault.Comparison,
	health.Comparison, scaling.Comparison,
}

func main() {
	rounds := flag.Int("rounds", 0, "how often each side runs; 0: each comparison's own number")
	results := flag.String("results", "", "also write RESULTS.md and charts/*.svg to this folder")
	flag.BoolVar(&backfill.TenMillion, "ten-million", false,
		"backfill: also copy 10,000,000 rows, for some 20 minutes a round")
	flag.Parse()
	if err := run(*results, *rounds, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(results string, rounds int, names []string) error {
	chosen, err := harness.Choose(comparisons, names)
	if err != nil {
		return err
	}
	if rounds < 0 {
		return fmt.Errorf("%d rounds: want at least 1, or 0 for each comparison's own number", rounds)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r := &harness.Report{Out: os.Stdout}
	if results == "" {
		return r.Run(ctx, rounds, chosen, func() error { return nil })
	}
	return r.Record(ctx, results, rounds, chosen)
}
