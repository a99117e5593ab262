package pgmigrate_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgmigrate"
)

// While a concurrent build waits for a transaction, the run says so.
func TestBuildProgress(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := migrator(t, b, firstTwo()).Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	tx, err := b.connect(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "lock table pages in row exclusive mode"); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	var events []pgmigrate.Event
	m := migrator(t, b, three(), pgmigrate.WithProgress(func(e pgmigrate.Event) {
		events = append(events, e) // the race detector would notice two at a time
		if e.Kind == pgmigrate.EventBuild && strings.Contains(e.Phase, "waiting for writers") {
			once.Do(func() { tx.Rollback(t.Context()) })
		}
	}))
	// Without an event of the build, the transaction blocks it: that must be an error, not a hang.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := m.Up(ctx); err != nil {
		t.Fatal(err)
	}
	seen := false
	for _, e := range events {
		if e.Kind == pgmigrate.EventBuild && strings.Contains(e.Phase, "waiting for writers") {
			seen = seen || e.Version == 3 && e.Name == "003_index.sql" && e.Line == 2 && e.Total == 1 && e.Done == 0
		}
	}
	if !seen || events[len(events)-1].Kind != pgmigrate.EventDone {
		t.Errorf("got %+v", events)
	}
}
