package main

import (
	"testing"
	"time"
)

// runNamed runs comparisons by their names.
func runNamed(t *testing.T, r *report, names ...string) {
	t.Helper()
	chosen, err := choose(names)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), r, 1, chosen, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
}

// The quick comparisons run; their figures are nobody's promise here.
func TestComparisonsRun(t *testing.T) {
	r := &report{Writer: t.Output()}
	runNamed(t, r, "query", "database")
	// Their tables are called as the charts expect.
	if drawn, err := charts(r.measured); err != nil || len(drawn) != 2 || drawn[0].file != "query" ||
		drawn[1].file != "database" {
		t.Errorf("error is %v, charts %v", err, drawn)
	}
	if _, err := choose([]string{"query", "nonsense"}); err == nil {
		t.Error("an unknown comparison can be chosen")
	}
}

func TestTransactionsRun(t *testing.T) {
	ctx, r := t.Context(), &report{Writer: t.Output()}
	url, drop, err := database(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer drop()
	for _, roundTrip := range []time.Duration{0, time.Millisecond} {
		if err := transactionsAt(ctx, r, url, roundTrip, 1); err != nil {
			t.Error(err)
		}
	}
	for _, p := range barCharts[1].panels[:2] {
		if _, ok := tableOf(r.measured, p.table); !ok {
			t.Errorf("there is no table %q to draw", p.table)
		}
	}
	if err := withoutCache(ctx, r, url, 1); err != nil {
		t.Error(err)
	}
	if err := workers(ctx, r, url, 1); err != nil {
		t.Error(err)
	}
	for _, err := range r.failures() {
		t.Error(err)
	}
}
