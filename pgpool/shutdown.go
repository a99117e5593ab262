package pgpool

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Shutdown closes pool: it hands out no connection any more (who asks gets an error at once), closes the idle ones and
// waits until the others have been released and closed, but never longer than ctx. If ctx ends first, the error says
// how many were still in use; those close as they are released, and one goroutine stays until then. A connection that
// is never released keeps its socket open until the process ends.
//
// A ctx that has already ended starts the closing and waits for nothing. Shutdown may be called more than once and
// concurrently. A nil pool is nothing to do.
func Shutdown(ctx context.Context, pool *pgxpool.Pool) error {
	if pool == nil {
		return nil
	}
	process.forget(pool)

	closed := make(chan struct{})
	go func() {
		defer close(closed)
		pool.Close() // blocks for ever on a connection that is never released: hence the goroutine
	}()
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
	}
	count, verb := pool.Stat().AcquiredConns(), "connections are"
	if count == 1 {
		verb = "connection is"
	}
	return fmt.Errorf("shutdown: %d %s still in use: %w: look for a missing Release, Close, Commit or Rollback, or allow more time",
		count, verb, context.Cause(ctx))
}
