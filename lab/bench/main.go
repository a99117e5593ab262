// Command bench compares the modules with what one would use without them, side by side in one
// process.
//
//	go run . [-rounds N] [-results DIR] [name ...]
//
// In each round every side of a comparison runs, in random order, so that a machine that slows down
// slows all of them. A figure is the median of the rounds; a ratio is the median of the rounds'
// ratios, which says more on a shared machine than any time. It prints Markdown; -results also
// writes it to DIR/RESULTS.md, with charts, when every comparison asked for has succeeded.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
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
	rounds := flag.Int("rounds", 0, "how often each side runs; 0: each comparison's own number")
	results := flag.String("results", "", "also write RESULTS.md and charts/*.svg to this folder")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	r := &report{Writer: os.Stdout}
	var err error
	if *results != "" {
		err = record(ctx, r, *results, *rounds, flag.Args())
	} else {
		err = run(ctx, r, *rounds, flag.Args())
	}
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
	if rounds < 0 {
		return fmt.Errorf("%d rounds: want at least 1, or 0 for each comparison's own number", rounds)
	}
	out := r.Writer
	defer func() { r.Writer = out }()
	for _, c := range comparisons {
		if len(names) > 0 && !slices.Contains(names, c.name) {
			continue
		}
		s := section{comparison: c.name, rounds: rounds}
		if s.rounds == 0 {
			s.rounds = roundsOf(c.name)
		}
		var text strings.Builder
		r.Writer = io.MultiWriter(out, &text)
		before, began := len(r.measured), time.Now()
		if err := c.run(ctx, r, s.rounds); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		for i := range r.measured[before:] {
			r.measured[before+i].comparison = c.name
		}
		s.took, s.text = time.Since(began), text.String()
		r.sections = append(r.sections, s)
	}
	return nil
}
