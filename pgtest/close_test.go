package pgtest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgtest"
)

// A connection that the code under test never gives back fails the test, and neither hangs it nor
// keeps the database.
func TestLeakedConnection(t *testing.T) {
	t.Parallel()
	r := &recorder{TB: t}
	var leaked *pgxpool.Conn
	began := time.Now()
	failures := r.run(func() {
		pool := pgtest.New(r, pgtest.Migrations(twoTables))
		count(t, pool, "pages") // released: not to be named
		conn, err := pool.Acquire(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		leaked = conn
	})
	if len(failures) != 1 || !strings.Contains(failures[0], "1 connection(s)") ||
		strings.Contains(failures[0], "pgxpool") ||
		!strings.Contains(failures[0], "close_test.go:") {
		t.Errorf("failures: %q", failures)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the end took %s", took)
	}
	deadline := time.Now().Add(time.Minute)
	for ; leaked.Ping(context.Background()) == nil; time.Sleep(10 * time.Millisecond) { // polls
		if time.Now().After(deadline) {
			t.Fatal("the leaked connection still works: its database was not dropped")
		}
	}
	leaked.Release()
}

// A pool that takes its time to close is not a leak.
func TestSlowClose(t *testing.T) {
	t.Parallel()
	r := &recorder{TB: t}
	closed := false
	failures := r.run(func() {
		pool := pgtest.New(r, pgtest.Migrations(twoTables), pgtest.Config(func(cfg *pgxpool.Config) {
			cfg.BeforeClose = func(*pgx.Conn) {
				time.Sleep(2500 * time.Millisecond) // longer than a leaked connection is waited for
				closed = true
			}
		}))
		count(t, pool, "pages")
	})
	if len(failures) > 0 || !closed {
		t.Errorf("closed %v, failures: %q", closed, failures)
	}
}
