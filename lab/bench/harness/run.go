package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Comparison runs its sides in a number of rounds and reports their figures.
type Comparison struct {
	Name    string
	Rounds  int // by default
	Run     func(ctx context.Context, r *Report, rounds int) error
	Charts  []Chart
	Reasons []Reason
}

// Choose returns the comparisons with these names, or all.
func Choose(all []Comparison, names []string) ([]Comparison, error) {
	if len(names) == 0 {
		return all, nil
	}
	for _, name := range names {
		if !slices.ContainsFunc(all, func(c Comparison) bool { return c.Name == name }) {
			return nil, fmt.Errorf("no comparison is called %q", name)
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(c Comparison) bool { return !slices.Contains(names, c.Name) }), nil
}

// Run runs the comparisons and calls write after each one. With 0 rounds, each comparison uses its
// own number.
//
// It returns all failures. It stops early only if ctx ends or write fails.
func (r *Report) Run(ctx context.Context, rounds int, chosen []Comparison, write func() error) error {
	out := r.Out
	defer func() { r.Out = out }()
	for i, c := range chosen {
		s := section{comparison: c, rounds: rounds}
		if rounds == 0 {
			s.rounds = c.Rounds
		}
		var text strings.Builder
		r.Out = io.MultiWriter(out, &text)
		before, began := len(r.Tables), time.Now()
		s.failed = c.Run(ctx, r, s.rounds)
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", c.Name, context.Cause(ctx))
		}
		if s.failed != nil {
			r.Printf("\n%s failed: %s\n", c.Name, FirstWords(s.failed.Error()))
		}
		for i := range r.Tables[before:] {
			r.Tables[before+i].Comparison = c.Name
		}
		s.took, s.text = time.Since(began), text.String()
		r.sections = append(r.sections, s)
		r.missing = nil
		for _, later := range chosen[i+1:] {
			r.missing = append(r.missing, later.Name)
		}
		if err := write(); err != nil {
			return err
		}
	}
	return errors.Join(r.Failures()...)
}
