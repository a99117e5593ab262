package pghealth_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// The most common mistake in the field: probes wait for the pool and take every busy instance out
// at once.
func TestSaturatedPoolStaysReady(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	probe, log := newProbe(t, pool, pghealth.Options{})
	release := acquire(t, pool)

	r := get(t, pool, probe.Ready())
	wantCode(t, r, http.StatusOK)
	c := r.check(t, "db:saturation")
	if r.Status != "warn" || c.Status != "warn" || c.Category != "saturated" {
		t.Error(r.body)
	}
	if c.ObservedValue == nil || *c.ObservedValue != 2 || c.ObservedUnit != "connections" ||
		c.Figures["max"] != 2 || c.Figures["idle"] != 0 {
		t.Error(r.body)
	}
	if c := r.check(t, "db:connectivity"); c.Status != "pass" {
		t.Error(r.body)
	}

	serveBoth(t, pool, probe).want(want{
		http.StatusOK, "saturation", "warn", "saturated",
		"all connections of the pool are in use",
	})

	// A pool that is full now and then does not change its status at each look.
	release()
	r = get(t, pool, probe.Ready())
	if c := r.check(t, "db:saturation"); c.Status != "warn" || *c.ObservedValue != 0 ||
		c.Output != "all connections of the pool were in use a moment ago" {
		t.Error(r.body)
	}
	probe.AgeSaturation(10 * time.Second)
	r = get(t, pool, probe.Ready())
	if c := r.check(t, "db:saturation"); r.Status != "pass" || c.Status != "pass" || c.Category != "" ||
		*c.ObservedValue != 0 || c.Figures["idle"] != 2 {
		t.Error(r.body)
	}
	if n := len(log.lines()); n != 2 {
		t.Errorf("%d records for a warning and its end: %s", n, log)
	}
}

// Commits that wait for a synchronous standby fill the pool.
func TestCommitsWaitForAStandby(t *testing.T) {
	t.Parallel()
	server := fault.NewServer(t, fault.ServerOptions{})
	pool := newPool(t, server.URL())
	probe, _ := newProbe(t, pool, pghealth.Options{Schema: pghealth.SchemaFunc(
		func(context.Context, *pgx.Conn) (int64, int64, bool, error) { return 1, 1, false, nil })})
	both := serveBoth(t, pool, probe)
	execute(t, connect(t, server.URL()), "create table t (i int)")
	server.Exec(t, "alter system set synchronous_standby_names = 'nobody'", "select pg_reload_conf()")
	var commits sync.WaitGroup
	var ends atomic.Bool
	for range pool.Config().MaxConns {
		commits.Go(func() {
			for !ends.Load() { // the first ones may be faster than the new setting
				if _, err := pool.Exec(t.Context(), "insert into t values (1)"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	both.want(want{http.StatusOK, "connectivity", "warn", "", "commits wait for a synchronous standby"})
	both.want(want{http.StatusOK, "schema", "pass", "", ""})
	ends.Store(true)
	admin := connect(t, server.URL())
	execute(t, admin, "set synchronous_commit = local")
	execute(t, admin, "alter system reset synchronous_standby_names")
	execute(t, admin, "select pg_reload_conf()")
	commits.Wait()
	both.want(want{http.StatusOK, "connectivity", "pass", "", ""})
}

// The check reports callers that gave up for a while after the pool has connections again.
func TestSaturationByCallersThatGaveUp(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	probe, _ := newProbe(t, pool, pghealth.Options{})
	both := serveBoth(t, pool, probe)

	// Contexts that are done before the wait say nothing about the pool.
	acquire(t, pool)()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := pool.Acquire(gone); err == nil {
		t.Fatal("a connection for a context that is done")
	}
	if c := both.get("/ready").check(t, "db:saturation"); c.Status != "pass" || c.Figures["gaveUp"] != 1 ||
		c.Figures["queued"] != 0 {
		t.Errorf("%+v", c)
	}

	release := acquire(t, pool)
	for range 3 {
		hasty, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		if _, err := pool.Acquire(hasty); err == nil {
			t.Fatal("a connection of a pool that is full")
		}
		cancel()
	}
	release()
	queue(t, pool, 20)
	c := both.get("/ready").check(t, "db:saturation")
	if c.Status != "warn" || c.Category != "saturated" || c.Output != "callers gave up waiting for a connection" ||
		c.Figures["gaveUp"] != 4 || c.Figures["queued"] < 10 {
		t.Errorf("%+v", c)
	}
	probe.AgeSaturation(time.Minute)
	both.get("/ready")
	probe.AgeSaturation(time.Minute)
	both.want(want{http.StatusOK, "saturation", "pass", "", ""})
}

// Many callers that wait a little are as bad as one that always waits.
func TestSaturationByWaiting(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t), func(cfg *pgxpool.Config) { cfg.MaxConns = 1 })
	probe, _ := newProbe(t, pool, pghealth.Options{Timeout: faultTimeout})
	began := time.Now()
	queue(t, pool, 20)
	if lasted := time.Since(began); pool.Stat().EmptyAcquireWaitTime() < 2*lasted {
		t.Fatalf("callers waited for %v in %v", pool.Stat().EmptyAcquireWaitTime(), lasted)
	}
	both := serveBoth(t, pool, probe)
	if c := both.want(want{
		http.StatusOK, "saturation", "warn", "saturated",
		"on average at least one caller waits for a connection",
	}); c.Figures["waitedMs"] < 100 || c.Figures["queued"] < 10 {
		t.Errorf("%v", c.Figures)
	}
}

// queue makes callers wait for the connections of a small pool.
func queue(t *testing.T, pool *pgxpool.Pool, callers int) {
	t.Helper()
	var wait sync.WaitGroup
	for range callers {
		wait.Go(func() {
			if _, err := pool.Exec(t.Context(), "select pg_sleep(0.02)"); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
}
