package pgmigrate_test

import (
	"testing"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// A run with nothing to do is one round trip after connecting, with a history and without, and
// takes no lock.
func TestNothingToDoRoundTrips(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := migrator(t, b, three()).Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	proxy := fault.NewProxy(t, b.config.ConnString(), fault.Options{})
	m, err := pgmigrate.New(parse(t, proxy.URL()), three(), pgmigrate.WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	// Whoever holds the lock: a run that asked for it would wait.
	if _, err := b.conn.Exec(t.Context(), "select pg_advisory_lock($1)", ternLock); err != nil {
		t.Fatal(err)
	}
	for _, history := range []string{"with", "without"} {
		if history == "without" {
			b.exec(t, "drop schema pgmigrate cascade")
		}
		before := proxy.Stats().Flushes
		if r, err := m.Up(t.Context()); err != nil || len(r.Steps) != 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		n := proxy.Stats().Flushes - before
		t.Logf("%s history: %d round trips after connecting", history, n)
		if n != 1 {
			t.Errorf("%s history: %d round trips, want 1", history, n)
		}
	}
}
