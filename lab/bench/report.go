package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"
)

// report is what a run says, as Markdown, and the figures in it for those who want to draw or sum
// them up.
type report struct {
	io.Writer
	measured []measured
	sections []section
	missing  []string // the comparisons that have not run yet
	versions []fact   // of what took part and is not in this program
}

// version says which version of something outside this program took part.
func (r *report) version(of, version string) {
	r.versions = append(r.versions, fact{of, version})
}

// section is one comparison as it was printed.
type section struct {
	comparison string
	rounds     int // that it was given; it may take fewer for what is slow
	took       time.Duration
	text       string
	failed     error // what ended it early
}

// measured is one comparison's table.
type measured struct {
	comparison string // its name on the command line
	title      string
	rounds     int
	sides      []measuredSide
}

// measuredSide is a row of it. The ratios are to the first side, in the same round.
type measuredSide struct {
	name         string
	failed       error // the side has no figures then
	time, ratio  spread
	allocs       float64 // a median; 0 where they were not counted
	timesByRound []time.Duration
}

// spread is a median with its quartiles; of times in nanoseconds.
type spread struct{ q1, median, q3 float64 }

// String is of a ratio.
func (s spread) String() string { return fmt.Sprintf("×%.2f (%.2f–%.2f)", s.median, s.q1, s.q3) }

func spreadOf[T time.Duration | float64](values []T) spread {
	return spread{float64(quantile(values, 0.25)), float64(quantile(values, 0.5)), float64(quantile(values, 0.75))}
}

// ratioTo is how much longer this side took than the other in the same round. A time of nothing
// counts as a nanosecond.
func (s measuredSide) ratioTo(other measuredSide) spread {
	ratios := make([]float64, len(s.timesByRound))
	for round, took := range s.timesByRound {
		ratios[round] = float64(max(took, 1)) / float64(max(other.timesByRound[round], 1))
	}
	return spreadOf(ratios)
}

// takeTurns measures each side once in each round, in random order, after warmUp rounds that do not
// count. It leaves out a side from its first failure on. The error is that of ctx.
func takeTurns(
	ctx context.Context, warmUp, rounds int, sides []measuredSide,
	measure func(side int, counts bool) (time.Duration, error),
) error {
	for round := range warmUp + rounds {
		for _, i := range rand.Perm(len(sides)) {
			if sides[i].failed != nil {
				continue
			}
			took, err := measure(i, round >= warmUp)
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case err != nil:
				sides[i].failed = err
			case round >= warmUp:
				sides[i].timesByRound = append(sides[i].timesByRound, took)
			}
		}
	}
	return nil
}

// gather keeps a table that the comparison prints by itself.
func (r *report) gather(title string, rounds int, sides []measuredSide) {
	for i, s := range sides {
		if s.failed != nil {
			continue
		}
		sides[i].time = spreadOf(s.timesByRound)
		if sides[0].failed == nil {
			sides[i].ratio = s.ratioTo(sides[0])
		}
	}
	r.measured = append(r.measured, measured{title: title, rounds: rounds, sides: sides})
}

// anyFailed reports whether a side of the table has no figures.
func (m measured) anyFailed() bool {
	return slices.ContainsFunc(m.sides, func(s measuredSide) bool { return s.failed != nil })
}

// failures are what failed of the comparisons: sides, and comparisons as a whole.
func (r *report) failures() (all []error) {
	for _, m := range r.measured {
		for _, s := range m.sides {
			if s.failed != nil {
				all = append(all, fmt.Errorf("%s: %s, %s: %w", m.comparison, m.title, s.name, s.failed))
			}
		}
	}
	for _, s := range r.sections {
		if s.failed != nil {
			all = append(all, fmt.Errorf("%s: %w", s.comparison, s.failed))
		}
	}
	return all
}

// add gathers a table and prints it.
func (r *report) add(title string, rounds, ops int, sides []measuredSide) {
	r.gather(title, rounds, sides)
	r.printf("\n%s (%d rounds of %d)\n\n", title, rounds, ops)
	r.printf("| %-40s | %10s | %21s | %6s | %9s | %6s |\n", "", "median", "quartiles", "ratio", "quartiles", "allocs")
	r.printf("|%s|%s|%s|%s|%s|%s|\n", dashes(42), dashes(12), dashes(23), dashes(8), dashes(11), dashes(8))
	for _, s := range sides {
		if s.failed != nil {
			r.printf("| %-40s | %10s | %21s | %6s | %9s | %6s |\n", s.name, "failed", "", "", "", "")
			continue
		}
		allocs := ""
		if s.allocs > 0 {
			allocs = fmt.Sprintf("%.0f", s.allocs)
		}
		ratio, quartiles := "", "" // there are none if the first side failed
		if s.ratio != (spread{}) {
			ratio, quartiles = fmt.Sprintf("×%5.2f", s.ratio.median), fmt.Sprintf("%.2f–%.2f", s.ratio.q1, s.ratio.q3)
		}
		r.printf("| %-40s | %10s | %10s–%10s | %6s | %9s | %6s |\n", s.name, short(time.Duration(s.time.median)),
			short(time.Duration(s.time.q1)), short(time.Duration(s.time.q3)), ratio, quartiles, allocs)
	}
	r.explainFailures(sides)
}

// explainFailures says below a table why sides failed.
func (r *report) explainFailures(sides []measuredSide) {
	between := "\n"
	for _, s := range sides {
		if s.failed != nil {
			r.printf("%s- %s failed: %s\n", between, s.name, firstWords(s.failed.Error()))
			between = ""
		}
	}
}

func (r *report) printf(format string, args ...any) { _, _ = fmt.Fprintf(r, format, args...) }
