package pghealth_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// Close while a check runs that ignores its context.
func TestCloseDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	entered, leave := make(chan struct{}), make(chan struct{})
	opts := pghealth.Options{
		Schema: pghealth.SchemaFunc(func(context.Context, *pgx.Conn) (current, needed int64, dirty bool, err error) {
			entered <- struct{}{}
			<-leave
			return 0, 0, false, nil
		}),
	}
	first, log := newProbe(t, pool, opts)
	opts.Name = "other"
	second, _ := newProbe(t, pool, opts)
	probe, err := pghealth.Join(first, second)
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan response)
	go func() { answered <- get(t, pool, probe.Ready()) }()
	<-entered
	<-entered
	began := time.Now()
	probe.Close()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("Close took %v", took)
	}
	if r := <-answered; r.code != http.StatusServiceUnavailable ||
		r.check(t, "db:schema").Output != "the health probe is closed" {
		t.Error(r.body)
	}
	close(leave)
	// The connection is closed when the function returns, although no caller waits for it.
	waitForNoSessions(t, pool)
	if log.String() != "" {
		t.Errorf("what a closed probe saw is no news: %s", log)
	}
}

func TestCloseEndsTheConnection(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	primary := newPool(t, pool.Config().ConnString())
	probe, _ := newProbe(t, pool, pghealth.Options{AllowReadOnly: true, Primary: primary, MaxAge: time.Hour})
	wantCode(t, get(t, pool, probe.Ready()), http.StatusOK)
	if n := sessions(t, pool); n != 2 {
		t.Fatalf("%d connections of the probe", n)
	}
	probe.Close()
	waitForNoSessions(t, pool)
	r := get(t, pool, probe.Ready())
	wantCode(t, r, http.StatusServiceUnavailable)
	if r.check(t, "db:serving").Status != "fail" {
		t.Error(r.body)
	}
	// Earlier results do not count.
	r = get(t, pool, handler(probe, checker(t, probe, well)))
	if c := r.check(t, "db:connectivity"); c.Status != "fail" || c.Output != "the health probe is closed" {
		t.Error(r.body)
	}
	waitForNoSessions(t, pool)
}

// sessions counts the server's sessions that belong to probes of this database.
func sessions(t *testing.T, pool *pgxpool.Pool) (n int) {
	t.Helper()
	err := pool.QueryRow(t.Context(), `select count(*) from pg_stat_activity
		where datname = current_database() and application_name like '%pghealth'`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// waitForNoSessions waits for the server to notice that a connection was closed.
func waitForNoSessions(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); sessions(t, pool) > 0; {
		if time.Now().After(deadline) {
			t.Fatal("the probe's connection is still open")
		}
	}
}

// A hook of the pool that never returns does not delay the end of the process.
func TestCloseDoesNotWaitForAHook(t *testing.T) {
	t.Parallel()
	leave, left := make(chan struct{}), make(chan struct{})
	pool := newPool(t, pgserver.Database(t), func(cfg *pgxpool.Config) {
		cfg.BeforeClose = func(*pgx.Conn) { <-leave; close(left) }
	})
	probe, _ := newProbe(t, pool, pghealth.Options{})
	wantCode(t, get(t, pool, probe.Ready()), http.StatusOK)
	began := time.Now()
	probe.Close()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("Close took %v", took)
	}
	close(leave)
	<-left
}

// pgxpool exports nothing that tells a closed pool from an idle one.
func TestClosedPool(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	probe, _ := newProbe(t, pool, pghealth.Options{})
	pool.Close()
	wantCode(t, get(t, pool, probe.Ready()), http.StatusOK)
	probe.Drain()
	wantCode(t, get(t, pool, probe.Ready()), http.StatusServiceUnavailable)
}
