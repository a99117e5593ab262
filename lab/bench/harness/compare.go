// Package harness runs the sides of a comparison in turns, keeps their times, and writes tables,
// charts and RESULTS.md.
package harness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// Side is one side of a comparison. The first side of a table is the reference for the others.
type Side struct {
	Name string
	Op   func(context.Context) error
}

// Row holds the measurements of a side. Ratio compares it with the first row of its table, in the
// same round.
type Row struct {
	Name        string
	Failed      error // the side has no figures then
	Times       []time.Duration
	Time, Ratio Spread
	Allocs      float64 // a median; 0 if not counted
}

// Table is the rows of one comparison.
type Table struct {
	Comparison, Title string
	Rounds            int
	Rows              []Row
}

// Spread is a median and its quartiles. Times are in nanoseconds.
type Spread struct{ Q1, Median, Q3 float64 }

// String formats a ratio.
func (s Spread) String() string { return fmt.Sprintf("×%.2f (%.2f–%.2f)", s.Median, s.Q1, s.Q3) }

func spreadOf[T time.Duration | float64](values []T) Spread {
	return Spread{float64(Quantile(values, 0.25)), float64(Quantile(values, 0.5)), float64(Quantile(values, 0.75))}
}

// Quantile returns the value at q, from 0 to 1, of at least one value.
func Quantile[T time.Duration | float64](values []T, q float64) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

// Short keeps three digits of d.
func Short(d time.Duration) time.Duration {
	for unit := time.Nanosecond; ; unit *= 10 {
		if d < 1000*unit {
			return d.Round(unit)
		}
	}
}

// Rows returns an empty row for each name.
func Rows(names ...string) []Row {
	rows := make([]Row, len(names))
	for i, name := range names {
		rows[i].Name = name
	}
	return rows
}

// ratioTo compares the times of each round. A time of 0 counts as a nanosecond.
func (row Row) ratioTo(other Row) Spread {
	ratios := make([]float64, len(row.Times))
	for round, took := range row.Times {
		ratios[round] = float64(max(took, 1)) / float64(max(other.Times[round], 1))
	}
	return spreadOf(ratios)
}

// TakeTurns measures each row once in each round, in random order, after warmUp rounds that do not
// count. It leaves a row out after its first failure. It returns only the error of ctx.
func TakeTurns(
	ctx context.Context, warmUp, rounds int, rows []Row,
	measure func(row int, counts bool) (time.Duration, error),
) error {
	for round := range warmUp + rounds {
		for _, i := range rand.Perm(len(rows)) {
			if rows[i].Failed != nil {
				continue
			}
			took, err := measure(i, round >= warmUp)
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case err != nil:
				rows[i].Failed = err
			case round >= warmUp:
				rows[i].Times = append(rows[i].Times, took)
			}
		}
	}
	return nil
}

// Compare runs each side ops times in each round, after a round that does not count, and adds the
// table to the report. A side that fails is reported as failed. It returns only the error of ctx.
func (r *Report) Compare(ctx context.Context, title string, rounds, ops int, sides ...Side) error {
	rows, allocs := make([]Row, len(sides)), make([][]float64, len(sides))
	for i, s := range sides {
		rows[i].Name = s.Name
	}
	err := TakeTurns(ctx, 1, rounds, rows, func(i int, counts bool) (time.Duration, error) {
		took, allocated, err := measure(ctx, ops, sides[i].Op)
		if counts {
			allocs[i] = append(allocs[i], allocated)
		}
		return took, err
	})
	if err != nil {
		return err
	}
	for i := range rows {
		if rows[i].Failed == nil {
			rows[i].Allocs = Quantile(allocs[i], 0.5)
		}
	}
	r.Add(title, rounds, ops, rows)
	return nil
}

// CompareTimes is Compare for sides that measure themselves, once in each round.
func (r *Report) CompareTimes(
	ctx context.Context, title string, rounds int, names []string, measure func(side int) (time.Duration, error),
) error {
	rows := Rows(names...)
	err := TakeTurns(ctx, 0, rounds, rows, func(i int, _ bool) (time.Duration, error) { return measure(i) })
	if err == nil {
		r.Add(title, rounds, 1, rows)
	}
	return err
}

func measure(ctx context.Context, ops int, op func(context.Context) error) (time.Duration, float64, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	for range ops {
		if err := op(ctx); err != nil {
			return 0, 0, err
		}
	}
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	return took / time.Duration(ops), float64(after.Mallocs-before.Mallocs) / float64(ops), nil
}

// InParallel returns an operation of count calls of op by n workers with the ids 1 to n.
func InParallel(n, count int, op func(ctx context.Context, id int) error) func(context.Context) error {
	return func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		for id := range n {
			group.Go(func() error {
				for range count / n {
					if err := op(ctx, id+1); err != nil {
						return err
					}
				}
				return nil
			})
		}
		return group.Wait()
	}
}
