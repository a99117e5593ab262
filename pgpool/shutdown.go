package pgpool

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
)

// ShutdownError is returned by [Shutdown] when its ctx ended before all connections had been
// released.
type ShutdownError struct {
	// InUse counts the connections that were still in use.
	InUse int
	// Holders are those who had them, oldest first. It is nil for a pool that does not come from
	// this package.
	Holders []Holder
	// Err is why the wait ended: the context's cause.
	Err error
}

func (e *ShutdownError) Error() string {
	count := "connections were"
	if e.InUse == 1 {
		count = "connection was"
	}
	var text strings.Builder
	fmt.Fprintf(&text, "shutdown: %d %s still in use: %v: look for a missing Release, Close, Commit or Rollback, or "+
		"allow more time",
		e.InUse, count, e.Err)
	writeHolders(&text, "; held: ", e.Holders)
	return text.String()
}

// Unwrap returns Err.
func (e *ShutdownError) Unwrap() error { return e.Err }

// Shutdown closes pool. From then on an acquire fails at once. Shutdown closes the idle connections
// and waits until the others have been released and closed, but never longer than ctx.
//
// If ctx ends first, the error is a [*ShutdownError] that names the holders, and Shutdown closes
// the sockets under their connections: the server is rid of them, and a caller that waits for an
// answer gets an error. One goroutine stays until they have been released.
//
// The sockets of a pool that does not come from this package stay open until their connections are
// released or the process ends. So do connections that were taken with Hijack or AcquireAllIdle.
// While a hijacked connection is open, Shutdown closes no socket at all: pgx does not tell which
// connections were hijacked.
//
// A ctx that has already ended starts the closing and waits for nothing. Shutdown may be called
// more than once and concurrently. A nil pool is nothing to do.
func Shutdown(ctx context.Context, pool *pgxpool.Pool) error {
	if pool == nil {
		return nil
	}
	process.pool.CompareAndSwap(pool, nil)

	closed := make(chan struct{})
	go func() {
		defer close(closed)
		pool.Close() // blocks forever on a connection that is never released
	}()
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-closed: // both: there is no holder to name
		return nil
	default:
	}
	err := &ShutdownError{InUse: int(pool.Stat().AcquiredConns()), Err: context.Cause(ctx)}
	if o := observerOf(pool); o != nil {
		err.Holders = o.cut()
	}
	return err
}

// cut closes the sockets of all connections that are held, and returns their holders. If some were
// hijacked it closes none, because nothing tells which.
func (o *observer) cut() []Holder {
	held, hijacked := o.held()
	if hijacked == 0 {
		for _, h := range held {
			h.session.socket.Close()
		}
	}
	return describe(held, hijacked, maxLoggedSQL)
}
