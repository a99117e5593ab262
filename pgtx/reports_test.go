package pgtx_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtx"
)

// reports collects what an observer is told.
type reports struct {
	mu   sync.Mutex
	seen []pgtx.Report
}

func (r *reports) observe(_ context.Context, report pgtx.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, report)
}

// lines are the reports without their times.
func (r *reports) lines() []string {
	var lines []string
	for _, report := range r.seen {
		line := fmt.Sprint(report.Name, " ", report.Kind, " ", report.Attempt, " ", report.Outcome)
		if report.Again {
			line += " again"
		}
		lines = append(lines, line)
	}
	return lines
}

// A hook after COMMIT that panics does not change what is reported of the transaction.
func TestObserverOfAHookThatPanics(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var told reports
	func() {
		defer func() { _ = recover() }()
		_ = pgtx.RunWith(t.Context(), b.pool, pgtx.Options{Observe: told.observe},
			func(ctx context.Context, tx pgx.Tx) error {
				return errors.Join(add(ctx, tx, 1, 1), pgtx.AfterCommit(ctx, tx, func(context.Context) error {
					panic("hook")
				}))
			})
		t.Error("the panic did not come through")
	}()
	if len(told.seen) != 1 || told.seen[0].Outcome != pgtx.OutcomeCommitted || told.seen[0].Err == nil {
		t.Errorf("reports are %+v, want one of a committed transaction with an error", told.seen)
	}
}
