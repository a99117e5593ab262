package pgpool_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

func TestServerStopsAndKilledUnderLoad(t *testing.T) {
	t.Parallel()
	server := fault.NewServer(t, fault.ServerOptions{})
	config := parse(t, server.URL())
	config.MaxConns = 8
	pool := connect(t, config, pgpool.WithAcquireTimeout(time.Second))
	l := start(t, pool, 16, `select 1`)
	l.answersAgain(t)

	server.Stop(t)
	before := l.failures()
	eventually(t, func() bool { return l.failures() > before })
	server.Start(t)
	l.answersAgain(t)

	server.Kill(t)
	before = l.failures()
	eventually(t, func() bool { return l.failures() > before })
	server.Start(t)
	l.answersAgain(t)

	l.end(t, time.Second)
	nothingIsLeft(t, pool)
}

// After a restart all idle connections are stale, but no caller sees an error.
func TestStaleConnectionsSurfaceToNobody(t *testing.T) {
	t.Parallel()
	server := fault.NewServer(t, fault.ServerOptions{})
	config := parse(t, server.URL())
	config.MaxConns, config.MinIdleConns = 8, 8
	// pgxpool pings connections that were idle for a second. On a slow machine that would hide our
	// check.
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	pool := connect(t, config)
	server.Stop(t)
	server.Start(t)
	if stat := pool.Stat(); stat.IdleConns() < 8 {
		t.Fatalf("%d idle connections, want 8", stat.IdleConns())
	}
	for range 50 {
		if _, err := pool.Exec(t.Context(), `select 1`); err != nil {
			t.Errorf("a query failed with %v of category %s", err, pgerr.Of(err))
		}
	}
}
