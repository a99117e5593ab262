package pgtest

import (
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// closeLimit limits how long the end of a test waits for a connection to be released. A second is
// long for a goroutine that is about to release one, and short for a test run.
const closeLimit = time.Second

// openPool returns a pool that is closed when the test ends.
func openPool(t TB, cfg *pgxpool.Config) *pgxpool.Pool {
	t.Helper()
	tracer := addTracer(cfg)
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
		return nil
	}
	t.Cleanup(func() { closePool(t, pool, tracer) })
	return pool
}

// closePool closes the pool, and fails the test if a connection was never released: Close alone
// would block forever. A slow close of released connections does not fail the test.
func closePool(t TB, pool *pgxpool.Pool, tracer *Tracer) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		pool.Close()
	}()
	every := time.NewTicker(closeLimit)
	defer every.Stop()
	for began := time.Now(); time.Since(began) < adminLimit; {
		select {
		case <-done:
			return
		case <-every.C:
		}
		// The pool also counts connections that it is about to destroy, and the tracer those that
		// the test hijacked.
		if out, leaks := pool.Stat().AcquiredConns(), tracer.leaks(); out > 0 && leaks != "" {
			// Dropping the database, which comes next, ends the server's side.
			t.Errorf("pgtest: %d connection(s) of the pool were acquired and not released when the test ended: "+
				"call Release, close rows, and end transactions%s", out, leaks)
			return
		}
	}
}
