package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"
)

// side is one of the ways that are compared. The first of a comparison is the one that the others are measured against.
type side struct {
	name string
	op   func(context.Context) error
}

// result is what one side took for an operation, one entry a round.
type result struct {
	times  []time.Duration
	allocs []float64
}

// compare runs ops operations of each side in each of the rounds, after a round that does not count, and prints a table.
func compare(ctx context.Context, title string, rounds, ops int, sides ...side) error {
	results := make([]result, len(sides))
	order := make([]int, len(sides))
	for i := range order {
		order[i] = i
	}
	for round := range rounds + 1 {
		rand.Shuffle(len(order), func(a, b int) { order[a], order[b] = order[b], order[a] })
		for _, i := range order {
			took, allocs, err := measure(ctx, ops, sides[i].op)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", title, sides[i].name, err)
			}
			if round > 0 {
				results[i].times = append(results[i].times, took)
				results[i].allocs = append(results[i].allocs, allocs)
			}
		}
	}
	fmt.Printf("\n%s (%d rounds of %d)\n\n", title, rounds, ops)
	fmt.Printf("| %-40s | %10s | %21s | %6s | %9s | %6s |\n", "", "median", "quartiles", "ratio", "quartiles", "allocs")
	fmt.Printf("|%s|%s|%s|%s|%s|%s|\n", dashes(42), dashes(12), dashes(23), dashes(8), dashes(11), dashes(8))
	for i, s := range sides {
		r := results[i]
		ratios := make([]float64, rounds)
		for round := range ratios {
			ratios[round] = float64(r.times[round]) / float64(results[0].times[round])
		}
		fmt.Printf("| %-40s | %10s | %10s–%10s | ×%5.2f | %.2f–%.2f | %6.0f |\n", s.name, short(quantile(r.times, 0.5)),
			short(quantile(r.times, 0.25)), short(quantile(r.times, 0.75)),
			quantile(ratios, 0.5), quantile(ratios, 0.25), quantile(ratios, 0.75), quantile(r.allocs, 0.5))
	}
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
