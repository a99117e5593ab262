package pgtest

import (
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// closePool closes the pool, and fails the test if a connection was never given back: Close alone
// would block for ever. On a busy machine it takes long for connections that were given back, too;
// that is no fault of the test's.
func closePool(t TB, pool *pgxpool.Pool, acquired *acquisitions) {
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
		// The pool counts connections that it is about to destroy, and the tracer those that were
		// taken from the pool for good.
		if out := pool.Stat().AcquiredConns(); out > 0 && acquired.some() {
			// Dropping the database, which comes next, ends the server's side.
			t.Errorf("pgtest: %d connection(s) of the pool were acquired and not released when the test ended: "+
				"call Release, close rows, and end transactions%s", out, acquired.stacks())
			return
		}
	}
}
