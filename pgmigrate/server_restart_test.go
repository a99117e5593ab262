package pgmigrate_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// TestServerRestart stops or kills the server while a statement of a migration waits, and starts it
// again: the next Up continues, or names the section that a person has to look at.
func TestServerRestart(t *testing.T) {
	t.Parallel()
	s := fault.NewServer(t, fault.ServerOptions{})
	const (
		table = "create table a (n int);\n"
		wait  = "select pg_advisory_xact_lock(7);\n"
	)
	for _, end := range []struct {
		name string
		fn   func(pgserver.TB)
	}{{"stopped", s.Stop}, {"killed", s.Kill}} {
		for _, test := range []struct {
			name, second string
			dirty        bool
			rows         int // after the next Up
		}{
			{"transaction", "insert into a values (1);\n" + wait, false, 1},
			{"statements", noTx + "insert into a values (1);\n" + wait + "insert into a values (2);\n", true, 1},
			{"index", noTx + "create index concurrently a_n on a (n);\n", false, 0},
		} {
			t.Run(end.name+" "+test.name, func(t *testing.T) {
				b := setupOn(t, s.URL())
				b.exec(t, "drop schema public cascade; create schema public; drop schema if exists pgmigrate cascade")
				m := migrator(t, b, files("1_a.sql", table, "2_b.sql", test.second),
					pgmigrate.WithLockTimeout(time.Minute))
				if _, err := m.To(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				// The statements wait for the advisory lock, the index for the transaction.
				b.exec(t, "select pg_advisory_lock(7); begin; lock table a in row exclusive mode")
				watch := setupOn(t, s.URL())
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				done := make(chan error, 1)
				go func() { _, err := m.Up(ctx); done <- err }()
				for !ask[bool](t, watch, "select exists (select from pg_stat_activity "+
					"where application_name = 'pgmigrate' and wait_event_type = 'Lock')") {
					select {
					case err := <-done:
						t.Fatalf("ended early: %v", err)
					default:
					}
				}
				end.fn(t)
				var failed *pgmigrate.MigrationError
				if err := <-done; !errors.As(err, &failed) || failed.Version != 2 {
					t.Errorf("the interrupted run: %v", err)
				}

				s.Start(t)
				b = setupOn(t, s.URL())
				r, err := m.Up(ctx)
				var dirty *pgmigrate.DirtyError
				switch {
				case !test.dirty && (err != nil || r.From != 1 || r.To != 2):
					t.Errorf("the next run: %+v, %v", r, err)
				case test.dirty && (!errors.As(err, &dirty) ||
					dirty.Version != 2 || dirty.Statement != 2 || dirty.Line != 3):
					t.Errorf("the next run: %+v, %v", r, err)
				}
				if n := ask[int](t, b, "select count(*) from a"); n != test.rows {
					t.Errorf("%d rows, want %d", n, test.rows)
				}
				if ask[bool](t, b, "select exists (select from pg_index where not indisvalid)") {
					t.Error("an index is invalid")
				}
				if test.name == "index" && !ask[bool](t, b, "select to_regclass('a_n') is not null") {
					t.Error("the index is missing")
				}
			})
		}
	}
}
