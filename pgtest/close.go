package pgtest

import (
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// closePool closes the pool, and fails the test if a connection was never given back: Close alone would block for
// ever.
func closePool(t TB, pool *pgxpool.Pool, acquired *acquisitions) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		pool.Close()
	}()
	limit := time.NewTimer(closeLimit)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
		// Dropping the database, which comes next, ends the server's side.
		t.Errorf("pgtest: %d connection(s) of the pool were acquired and not released when the test ended: "+
			"call Release, close rows, and end transactions%s", pool.Stat().AcquiredConns(), acquired.stacks())
	}
}
