package main

import (
	"fmt"
	"io"
	"time"
)

// report is what a run says, as Markdown, and the figures in it for those who want to draw or sum
// them up.
type report struct {
	io.Writer
	measured []measured
	sections []section
	versions []fact // of what took part and is not in this program
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

// gather keeps a table that the comparison prints by itself.
func (r *report) gather(title string, rounds int, sides []measuredSide) {
	for i, s := range sides {
		sides[i].time, sides[i].ratio = spreadOf(s.timesByRound), s.ratioTo(sides[0])
	}
	r.measured = append(r.measured, measured{title: title, rounds: rounds, sides: sides})
}

// add gathers a table and prints it.
func (r *report) add(title string, rounds, ops int, sides []measuredSide) {
	r.gather(title, rounds, sides)
	r.printf("\n%s (%d rounds of %d)\n\n", title, rounds, ops)
	r.printf("| %-40s | %10s | %21s | %6s | %9s | %6s |\n", "", "median", "quartiles", "ratio", "quartiles", "allocs")
	r.printf("|%s|%s|%s|%s|%s|%s|\n", dashes(42), dashes(12), dashes(23), dashes(8), dashes(11), dashes(8))
	for _, s := range sides {
		allocs := ""
		if s.allocs > 0 {
			allocs = fmt.Sprintf("%.0f", s.allocs)
		}
		r.printf("| %-40s | %10s | %10s–%10s | ×%5.2f | %.2f–%.2f | %6s |\n", s.name, short(time.Duration(s.time.median)),
			short(time.Duration(s.time.q1)), short(time.Duration(s.time.q3)), s.ratio.median, s.ratio.q1, s.ratio.q3, allocs)
	}
}

func (r *report) printf(format string, args ...any) { _, _ = fmt.Fprintf(r, format, args...) }
