package pgpool

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// errLimit marks, as its cause, a context that ended by our limit.
var errLimit = errors.New("acquire timeout")

// acquireContext is the context of one Acquire. pgxpool has no limit on the wait for a connection,
// but uses the context that TraceAcquireStart returns for the rest of Acquire, and only for that:
// the query that follows runs on the caller's. When it ends, the pool (puddle, in fact) returns
// what its Err method returns, which is where the AcquireError comes from. A connect under way does
// not see it and goes on for the next caller.
//
// Nearly every Acquire finds an idle connection and waits for nothing. puddle asks for Done once,
// to see whether the caller has given up already, and again when it has to wait; the timer is made
// only then. Tests pin both.
type acquireContext struct {
	context.Context // the caller's
	observer        *observer
	pool            *pgxpool.Pool
	began           time.Time
	asked           atomic.Bool

	mu      sync.Mutex
	ended   bool            // Acquire has returned
	limited context.Context // made by the first wait
	cancel  context.CancelFunc
	err     *AcquireError
}

func (c *acquireContext) Done() <-chan struct{} {
	limit := c.observer.settings.AcquireTimeout
	if limit <= 0 || c.asked.CompareAndSwap(false, true) {
		return c.Context.Done()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limited == nil {
		c.limited, c.cancel = context.WithDeadlineCause(c.Context, c.began.Add(limit), errLimit)
		if c.ended {
			c.cancel()
		}
	}
	return c.limited.Done()
}

func (c *acquireContext) Deadline() (time.Time, bool) {
	deadline, ok := c.Context.Deadline()
	if limit := c.observer.settings.AcquireTimeout; limit > 0 {
		if ours := c.began.Add(limit); !ok || ours.Before(deadline) {
			return ours, true
		}
	}
	return deadline, ok
}

// Err is an AcquireError once the limit or the caller's deadline is over, and the caller's own
// error if that gave up.
func (c *acquireContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx := c.Context
	if c.limited != nil {
		ctx = c.limited
	}
	err := ctx.Err()
	if c.observer.settings.AcquireTimeout <= 0 || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if c.err == nil { // Err has to return the same error every time, and the figures of the moment the wait ended
		c.err = c.observer.acquireError(c.pool, time.Since(c.began), errors.Is(context.Cause(ctx), errLimit))
	}
	return c.err
}

type acquireContextKey struct{}

func (c *acquireContext) Value(key any) any {
	if _, ok := key.(acquireContextKey); ok {
		return c
	}
	return c.Context.Value(key)
}

func (c *acquireContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.cancel != nil {
		c.cancel()
	}
}

// acquireContextOf does not go by type alone: another tracer may have wrapped the context.
func acquireContextOf(ctx context.Context) *acquireContext {
	if c, ok := ctx.(*acquireContext); ok {
		return c
	}
	c, _ := ctx.Value(acquireContextKey{}).(*acquireContext)
	return c
}
