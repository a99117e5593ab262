package pgpool_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgpool"
)

func TestHolders(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 3
	pool := connect(t, config)
	first := acquire(t, pool)
	if _, err := first.Exec(t.Context(), `select $1::text`, "argument"); err != nil {
		t.Fatal(err)
	}
	if _, err := acquire(t, pool).Exec(t.Context(), `select 'password'`); err != nil {
		t.Fatal(err)
	}
	third := acquire(t, pool)

	holders := pgpool.Holders(pool)
	if len(holders) != 3 {
		t.Fatalf("%d holders, want 3", len(holders))
	}
	for i, sql := range []string{`select $1::text`, "select '…'", ""} {
		if holders[i].SQL != sql {
			t.Errorf("holder %d sent %q last, want %q", i, holders[i].SQL, sql)
		}
		if holders[i].Since.IsZero() || holders[i].Age <= 0 || holders[i].Stack() != "" {
			t.Errorf("holder %d is %+v, want an age and no stack", i, holders[i])
		}
	}
	if holders[0].PID != first.Conn().PgConn().PID() || holders[0].Age < holders[2].Age {
		t.Errorf("holders are %v, want the oldest first", holders)
	}

	// A released connection has no holder any more. Neither has a hijacked one that was closed.
	first.Release()
	if err := third.Hijack().Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return len(pgpool.Holders(pool)) == 1 })
}

func TestAcquireErrorNamesTheOldestHolders(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 5
	pool := connect(t, config, pgpool.WithAcquireTimeout(limit))
	for range 5 {
		if _, err := acquire(t, pool).Exec(t.Context(),
			"update pg_catalog.pg_class\n\tset relname = relname where false -- and so on and on and "+
				"on and on"); err != nil {
			t.Fatal(err)
		}
	}
	oldest := pgpool.Holders(pool)[0].PID
	_, err := pool.Exec(t.Context(), `select 1`)
	failed, ok := err.(*pgpool.AcquireError)
	if !ok || len(failed.Oldest) != 3 || failed.Oldest[0].PID != oldest {
		t.Fatalf("error is %v, want the three oldest holders", err)
	}
	if want := "): update pg_catalog.pg_class set relname = relname where false"; strings.Count(err.Error(),
		want) != 3 || strings.Contains(err.Error(), "\n") {
		t.Errorf("error is %q, want %q in it three times, on one line", err, want)
	}
}

func TestLeakIsLoggedOnceAndWhenItComesBack(t *testing.T) {
	t.Parallel()
	const threshold = 100 * time.Millisecond
	config := database(t)
	config.MinIdleConns = 2 // the second acquire must not have to connect while stacks are recorded
	var log logs
	pool := connect(t, config, pgpool.WithLogger(log.Logger()), pgpool.WithLeakThreshold(threshold))
	const leaked, back = "connection held too long", "connection that was held too long came back"

	first := acquire(t, pool)
	if _, err := first.Exec(t.Context(), `select 1 as first`); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return len(log.Lines(leaked)) == 1 })
	if line := log.Lines(leaked)[0]; !strings.Contains(line, "select 1 as first") || !strings.Contains(line, "hint=") ||
		strings.Contains(line, "stack=") {
		t.Errorf("log is %q, want the statement and no stack yet", line)
	}

	// From now on the stack is known.
	second := acquire(t, pool)
	eventually(t, func() bool { return len(log.Lines(leaked)) == 2 })
	if line := log.Lines(leaked)[1]; !strings.Contains(line,
		`stack="github.com/page-builder/persistence/pgpool_test.acquire `) ||
		!strings.Contains(line, "TestLeakIsLoggedOnceAndWhenItComesBack") {
		t.Errorf("log is %q, want the stack from the caller on", line)
	}
	if len(log.Lines("select 1 as first")) != 1 {
		t.Errorf("log is %q, want the first leak once", &log)
	}

	second.Release()
	first.Release()
	if lines := log.Lines(back); len(lines) != 2 || !strings.Contains(lines[0], "stack=") ||
		!strings.Contains(lines[1], "select 1 as first") {
		t.Errorf("log is %q, want both to come back", &log)
	}
	// The stack is recorded for a while only.
	eventually(t, func() bool {
		conn := acquire(t, pool)
		defer conn.Release()
		return pgpool.Holders(pool)[0].Stack() == ""
	})
	// A quick holder is not reported, unless a busy machine made it slow.
	began := time.Now()
	if _, err := pool.Exec(t.Context(), `select 1 as quick`); err != nil {
		t.Fatal(err)
	}
	if quick := time.Since(began) < threshold; quick && len(log.Lines("quick")) != 0 {
		t.Errorf("log is %q, want nothing about a quick one", &log)
	}
}

// A second leak is reported too, when its own threshold has passed.
func TestLaterLeak(t *testing.T) {
	t.Parallel()
	const threshold = 100 * time.Millisecond
	var log logs
	pool := connect(t, database(t), pgpool.WithLogger(log.Logger()), pgpool.WithLeakThreshold(threshold))
	acquire(t, pool)
	time.Sleep(threshold / 2) // the age of one is the subject
	began := time.Now()       // before it is acquired
	second := acquire(t, pool)
	eventually(t, func() bool { return len(log.Lines("connection held too long")) == 2 })
	if took := time.Since(began); took < threshold {
		t.Errorf("the second was reported after %s, want %s", took, threshold)
	}
	second.Release()
}

// AcquireAllIdle calls no hook, so its connections have no holder and are not reported as leaks.
func TestAcquireAllIdleIsNotWatched(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MinIdleConns = 2
	var log logs
	pool := connect(t, config, pgpool.WithLogger(log.Logger()), pgpool.WithLeakThreshold(time.Nanosecond))
	conns := pool.AcquireAllIdle(t.Context())
	if len(conns) < 2 || len(pgpool.Holders(pool)) != 0 {
		t.Errorf("%d connections and %d holders, want 2 and none", len(conns), len(pgpool.Holders(pool)))
	}
	for _, conn := range conns {
		if _, err := conn.Exec(t.Context(), `select 1`); err != nil {
			t.Error(err)
		}
		conn.Release()
	}
	if len(log.Lines("too long")) != 0 {
		t.Errorf("log is %q, want nothing", &log)
	}
}

func TestLeaksOff(t *testing.T) {
	t.Parallel()
	var log logs
	pool := connect(t, database(t), pgpool.WithLogger(log.Logger()), pgpool.WithLeakThreshold(0))
	conn := acquire(t, pool)
	if _, err := conn.Exec(t.Context(), `select pg_sleep(0.05)`); err != nil {
		t.Fatal(err)
	}
	conn.Release()
	if len(log.Lines("too long")) != 0 {
		t.Errorf("log is %q, want nothing", &log)
	}
}

// acquire releases the connection at the end of the test, unless the test has.
func acquire(t *testing.T, pool *pgxpool.Pool) *pgxpool.Conn {
	t.Helper()
	conn, err := pool.Acquire(t.Context())
	// On a busy machine a connect may take longer than the limit. It goes on for the next caller.
	for end := time.Now().Add(20 * time.Second); errors.Is(err, pgpool.ErrNotAnswering) && time.Now().Before(end); {
		conn, err = pool.Acquire(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Release)
	return conn
}
