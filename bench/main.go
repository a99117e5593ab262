// Command bench compares the modules with what one would use without them, side by side in one process.
//
//	go run . [-rounds N] [name ...]
//
// In each round every side of a comparison runs, in random order, so that a machine that slows down slows all of them. A figure is
// the median of the rounds; a ratio is the median of the rounds' ratios, which says more on a shared machine than any
// time. Nothing here is published.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
)

// comparison runs its sides in the given number of rounds and reports their figures.
type comparison struct {
	name string
	run  func(ctx context.Context, r *report, rounds int) error
}

// comparisons in the order in which they run, the quick ones first.
var comparisons = []comparison{
	{"query", queries},
	{"transaction", transactions},
	{"database", databases},
	{"connect", connects},
	{"reuse", reuse},
	{"migration", migrations},
	{"prisma", withPrisma},
	{"storm", storms},
	{"faults", faults},
	{"health", healths},
	{"scaling", scaling},
}

func main() {
	rounds := flag.Int("rounds", 30, "how often each side runs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, &report{Writer: os.Stdout}, *rounds, flag.Args())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, r *report, rounds int, names []string) error {
	for _, name := range names {
		if !slices.ContainsFunc(comparisons, func(c comparison) bool { return c.name == name }) {
			return fmt.Errorf("no comparison is called %q", name)
		}
	}
	if rounds < 1 {
		return fmt.Errorf("%d rounds: want at least 1", rounds)
	}
	for _, c := range comparisons {
		if len(names) > 0 && !slices.Contains(names, c.name) {
			continue
		}
		before := len(r.measured)
		if err := c.run(ctx, r, rounds); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		for i := range r.measured[before:] {
			r.measured[before+i].comparison = c.name
		}
	}
	return nil
}
