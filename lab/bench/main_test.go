package main

import (
	"testing"

	"github.com/page-builder/persistence/lab/bench/database"
	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/lab/bench/query"
	"github.com/page-builder/persistence/lab/bench/river"
	"github.com/page-builder/persistence/lab/bench/scaling"
	"github.com/page-builder/persistence/lab/bench/transaction"
)

// These comparisons work in one round and produce the tables for their charts. The figures do not
// matter here.
func TestComparisonsRun(t *testing.T) {
	r := &harness.Report{Out: t.Output()}
	chosen := []harness.Comparison{
		query.Comparison, transaction.Comparison, database.Comparison, river.Comparison, scaling.Comparison,
	}
	if err := r.Run(t.Context(), 1, chosen, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	titles := map[string]bool{}
	for _, table := range r.Tables {
		titles[table.Title] = true
	}
	for _, c := range chosen {
		for _, chart := range c.Charts {
			for _, p := range chart.Panels {
				if !titles[p.Table] {
					t.Errorf("%s: no table %q to draw", c.Name, p.Table)
				}
			}
		}
	}
	if _, err := harness.Choose(comparisons, []string{"query", "nonsense"}); err == nil {
		t.Error("an unknown comparison can be chosen")
	}
}
