package pgpool

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

var _ pgxpool.AcquireTracer = (*acquireLimit)(nil)

// acquireLimit limits how long a pool's Acquire waits. pgxpool has no setting for it, but uses the context that
// TraceAcquireStart returns for the rest of Acquire, and only for that: the query that follows runs on the caller's.
// When that context ends, the pool (puddle, in fact) returns what its Err method returns, which is where the
// AcquireError comes from. A connect under way does not see it and goes on for the next caller.
type acquireLimit struct {
	limit   time.Duration
	waiting atomic.Int64 // callers inside Acquire
}

// errLimit marks, as its cause, a context that ended by our limit.
var errLimit = errors.New("acquire timeout")

func (a *acquireLimit) TraceAcquireStart(ctx context.Context, pool *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	a.waiting.Add(1)
	limited, cancel := context.WithTimeoutCause(ctx, a.limit, errLimit)
	return &acquireContext{Context: limited, cancel: cancel, began: time.Now(), limit: a, pool: pool}
}

func (a *acquireLimit) TraceAcquireEnd(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireEndData) {
	// By value and not by type: another tracer may have wrapped the context.
	if c, ok := ctx.Value(acquireContextKey{}).(*acquireContext); ok && c.limit == a {
		a.waiting.Add(-1)
		c.cancel()
	}
}

type acquireContextKey struct{}

// acquireContext is the context of one Acquire.
type acquireContext struct {
	context.Context
	cancel context.CancelFunc
	began  time.Time
	limit  *acquireLimit
	pool   *pgxpool.Pool

	once sync.Once
	err  *AcquireError
}

func (c *acquireContext) Value(key any) any {
	if _, ok := key.(acquireContextKey); ok {
		return c
	}
	return c.Context.Value(key)
}

// Err is an AcquireError once the limit or the caller's deadline is over, and the caller's own error if that gave up.
func (c *acquireContext) Err() error {
	err := c.Context.Err()
	if err != context.DeadlineExceeded {
		return err
	}
	// Err has to return the same error every time, and the figures of the moment the wait ended.
	c.once.Do(func() {
		ours := context.Cause(c.Context) == errLimit
		c.err = newAcquireError(c.pool.Stat(), time.Since(c.began), c.limit.waiting.Load(), ours)
	})
	return c.err
}
