// Command bench compares the modules with what one would use without them, side by side in one
// process.
//
//	go run . [-rounds N] [-results DIR] [name ...]
//
// In each round every side of a comparison runs, in random order, so that a machine that slows down
// slows all of them. A figure is the median of the rounds; a ratio is the median of the rounds'
// ratios, which says more on a shared machine than any time. It prints Markdown; -results also
// writes it to DIR/RESULTS.md, with charts, after each comparison.
//
// A side or a comparison that fails is reported with the reason, and the others go on. The exit
// status is 1 then.
package main

import (
	"context"
	"errors"
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
	{"list", lists},
	{"transaction", transactions},
	{"database", databases},
	{"connect", connects},
	{"reuse", reuse},
	{"migration", migrations},
	{"backfill", backfills},
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
	if err := start(*results, *rounds, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func start(results string, rounds int, names []string) error {
	chosen, err := choose(names)
	if err != nil {
		return err
	}
	if rounds < 0 {
		return fmt.Errorf("%d rounds: want at least 1, or 0 for each comparison's own number", rounds)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r := &report{Writer: os.Stdout}
	if results == "" {
		return run(ctx, r, rounds, chosen, func() error { return nil })
	}
	return record(ctx, r, results, rounds, chosen)
}

// choose returns the comparisons of these names, or all.
func choose(names []string) ([]comparison, error) {
	if len(names) == 0 {
		return comparisons, nil
	}
	for _, name := range names {
		if !slices.ContainsFunc(comparisons, func(c comparison) bool { return c.name == name }) {
			return nil, fmt.Errorf("no comparison is called %q", name)
		}
	}
	return slices.DeleteFunc(slices.Clone(comparisons), func(c comparison) bool {
		return !slices.Contains(names, c.name)
	}), nil
}

// run runs the comparisons and calls write after each of them. The error has all failures; only the
// end of ctx and an error of write keep other comparisons from running.
func run(ctx context.Context, r *report, rounds int, chosen []comparison, write func() error) error {
	out := r.Writer
	defer func() { r.Writer = out }()
	for i, c := range chosen {
		s := section{comparison: c.name, rounds: rounds}
		if s.rounds == 0 {
			s.rounds = roundsOf(c.name)
		}
		var text strings.Builder
		r.Writer = io.MultiWriter(out, &text)
		before, began := len(r.measured), time.Now()
		err := c.run(ctx, r, s.rounds)
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", c.name, context.Cause(ctx))
		}
		if s.failed = err; err != nil {
			r.printf("\n%s failed: %s\n", c.name, firstWords(err.Error()))
		}
		for i := range r.measured[before:] {
			r.measured[before+i].comparison = c.name
		}
		s.took, s.text = time.Since(began), text.String()
		r.sections = append(r.sections, s)
		r.missing = nil
		for _, later := range chosen[i+1:] {
			r.missing = append(r.missing, later.name)
		}
		if err := write(); err != nil {
			return err
		}
	}
	return errors.Join(r.failures()...)
}
