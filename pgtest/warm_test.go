package pgtest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgtest"
)

// A test's first connection may have been there before it. It is like a new one, and a test that
// asks for anything else than the usual session gets a new one.
func TestWarmConnection(t *testing.T) {
	t.Parallel()
	_, env := ownServer(t) // where nobody else's tests take or sweep
	runChild(t, "TestChildWarm", env)
}

func TestChildWarm(t *testing.T) {
	onlyAsChild(t)
	// warmed waits until a copy with a connection is there, as the number of sessions tells.
	admin := adminURL(t)
	warmed := func(t *testing.T) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) { // polls
			n := scan(t, admin, `select count(*)::text from pg_stat_activity a join pg_database d using (datname)
				where datname ~ '^pgtest_' and state = 'idle' and shobj_description(d.oid,
					'pg_database') = 'pgtest used'`)
			if n >= "2" {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("no connection is made ahead")
			}
		}
	}
	pgtest.URL(t, pgtest.Migrations(twoTables)) // a test that runs: copies are made while there is one
	pgtest.URL(t, pgtest.Migrations(twoTables))
	pgtest.URL(t, pgtest.Migrations(twoTables))
	const older = "select backend_start < $1, current_setting('application_name') from pg_stat_activity where pid = " +
		"pg_backend_pid()"
	look := func(t *testing.T, conn interface {
		QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	}, since time.Time,
	) (warm bool, application string) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), older, since).Scan(&warm, &application); err != nil {
			t.Fatal(err)
		}
		return warm, application
	}

	t.Run("as it is", func(t *testing.T) {
		warmed(t)
		began := time.Now()
		pool := pgtest.New(t, pgtest.Migrations(twoTables))
		if warm, _ := look(t, pool, began); !warm {
			t.Error("connected anew")
		}
		// It can be interrupted, and the pool goes on with another.
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := pool.Exec(ctx, "select pg_sleep(600)"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if warm, _ := look(t, pool, began); warm {
			t.Error("the same session twice")
		}
	})
	t.Run("transaction", func(t *testing.T) {
		warmed(t)
		began := time.Now()
		if warm, _ := look(t, pgtest.Tx(t, pgtest.Migrations(twoTables)), began); !warm {
			t.Error("connected anew")
		}
	})
	t.Run("other parameters", func(t *testing.T) {
		warmed(t)
		began := time.Now()
		pool := pgtest.New(t, pgtest.Migrations(twoTables), pgtest.Config(func(cfg *pgxpool.Config) {
			cfg.ConnConfig.RuntimeParams["application_name"] = "another"
		}))
		if warm, application := look(t, pool, began); warm || application != "another" {
			t.Errorf("warm %v, application %q", warm, application)
		}
	})
	t.Run("not used", func(t *testing.T) {
		warmed(t)
		pgtest.New(t, pgtest.Migrations(twoTables))
	})
	t.Run("ended by somebody", func(t *testing.T) {
		warmed(t)
		execURL(t, admin, `select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname ~ '^pgtest_'`)
		began := time.Now()
		if warm, _ := look(t, pgtest.New(t, pgtest.Migrations(twoTables)), began); warm {
			t.Error("an ended session")
		}
	})
}
