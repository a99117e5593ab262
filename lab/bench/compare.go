package main

import (
	"context"
	"runtime"
	"slices"
	"time"
)

// side is one of the ways that are compared. The first of a comparison is the one that the others
// are measured against.
type side struct {
	name string
	op   func(context.Context) error
}

// compare runs ops operations of each side in each of the rounds, after a round that does not
// count, and reports them. A side that fails is reported as failed; the error is that of ctx.
func compare(ctx context.Context, r *report, title string, rounds, ops int, sides ...side) error {
	rows := make([]measuredSide, len(sides))
	allocs := make([][]float64, len(sides))
	for i, s := range sides {
		rows[i].name = s.name
	}
	err := takeTurns(ctx, 1, rounds, rows, func(i int, counts bool) (time.Duration, error) {
		took, allocated, err := measure(ctx, ops, sides[i].op)
		if counts {
			allocs[i] = append(allocs[i], allocated)
		}
		return took, err
	})
	if err != nil {
		return err
	}
	for i := range rows {
		if rows[i].failed == nil {
			rows[i].allocs = quantile(allocs[i], 0.5)
		}
	}
	r.add(title, rounds, ops, rows)
	return nil
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

func quantile[T time.Duration | float64](values []T, q float64) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

// short keeps three digits.
func short(d time.Duration) time.Duration {
	for unit := time.Nanosecond; ; unit *= 10 {
		if d < 1000*unit {
			return d.Round(unit)
		}
	}
}

func dashes(n int) string { return string(slices.Repeat([]byte{'-'}, n)) }
