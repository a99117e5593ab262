package main

import (
	"fmt"
	"io"
	"time"
)

// report is what a run says, as Markdown, and the figures in it for those who want to draw or sum them up.
type report struct {
	io.Writer
	measured []measured
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

func spreadOf[T time.Duration | float64](values []T) spread {
	return spread{float64(quantile(values, 0.25)), float64(quantile(values, 0.5)), float64(quantile(values, 0.75))}
}

// add gathers a table and prints it.
func (r *report) add(title string, rounds, ops int, sides []measuredSide) {
	base := sides[0].timesByRound
	for i, s := range sides {
		ratios := make([]float64, len(base))
		for round := range ratios {
			ratios[round] = float64(s.timesByRound[round]) / float64(base[round])
		}
		sides[i].time, sides[i].ratio = spreadOf(s.timesByRound), spreadOf(ratios)
	}
	r.measured = append(r.measured, measured{title: title, rounds: rounds, sides: sides})
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
