package pgpool

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// acquireTick is how long an acquire may take before its limit and its caller's context are
// watched. Nearly all acquires have returned by then, and a timer for each would cost more than the
// acquire.
const acquireTick = 5 * time.Millisecond

// acquireContext is the context of one Acquire of the pool. pgxpool has no limit on the wait for a
// connection, but it uses the context that TraceAcquireStart returns for the rest of Acquire, and
// only for that: the query that follows runs on the caller's context. When it ends, the pool
// returns its error, which is where the AcquireError comes from. A connect under way does not end
// with it and serves the next caller.
//
// It also tells the other hooks on whose behalf they run.
type acquireContext struct {
	context.Context // the caller's
	observer        *observer
	began           time.Duration   // on the observer's clock
	done            chan struct{}   // nil: there is no limit
	session         *session        // its connection is about to be returned; PrepareConn sets it
	next            *acquireContext // in the observer's list
	stage           atomic.Int32

	returned bool // from Acquire
	mu       sync.Mutex
	err      error
	unwatch  func() // nil: nothing watches the limit and the caller's context yet
}

// The stages of an acquire.
const (
	waiting    int32 = iota // in line for a place in the pool
	connecting              // it has a place, and a connection is being made there
	checking                // the server is asked on a connection of the pool; the observer counts these
)

func (c *acquireContext) Done() <-chan struct{} {
	if c.done == nil {
		return c.Context.Done()
	}
	return c.done
}

func (c *acquireContext) Deadline() (time.Time, bool) {
	deadline, ok := c.Context.Deadline()
	if own := c.limit(); c.done != nil && (!ok || own.Before(deadline)) {
		return own, true
	}
	return deadline, ok
}

func (c *acquireContext) limit() time.Time {
	return c.observer.epoch.Add(c.began + c.observer.settings.AcquireTimeout)
}

// Err is an AcquireError after the limit or the caller's deadline, and the caller's own error if
// the caller gave up.
func (c *acquireContext) Err() error {
	if c.done == nil {
		return c.Context.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

type acquireContextKey struct{}

func (c *acquireContext) Value(key any) any {
	if _, ok := key.(acquireContextKey); ok {
		return c
	}
	return c.Context.Value(key)
}

// acquireContextOf does not go by type alone, because another tracer may have wrapped the context.
func acquireContextOf(ctx context.Context) *acquireContext {
	if c, ok := ctx.(*acquireContext); ok {
		return c
	}
	c, _ := ctx.Value(acquireContextKey{}).(*acquireContext)
	return c
}

// watch ends c at its limit or with the caller's context, unless Acquire has returned.
func (c *acquireContext) watch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.returned {
		return
	}
	watched, cancel := context.WithDeadline(c.Context, c.limit())
	stop := context.AfterFunc(watched, func() { c.end(watched.Err()) })
	c.unwatch = func() {
		stop()
		cancel()
	}
}

func (c *acquireContext) end(err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		err = c.observer.acquireError(c, errors.Is(c.Context.Err(), context.DeadlineExceeded))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	close(c.done)
}

// finish is called when Acquire has returned. It reports whether that took longer than acquireTick.
func (c *acquireContext) finish() (late bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.returned = true
	if c.err != nil && c.stage.Load() == checking {
		// pgxpool lets a ping go on without its caller, and the connection keeps its place
		// meanwhile.
		time.AfterFunc(c.observer.cfg.PingTimeout, func() { c.enter(waiting) })
	} else {
		c.enter(waiting)
	}
	if c.unwatch != nil {
		c.unwatch()
	}
	return c.unwatch != nil
}

func (c *acquireContext) enter(stage int32) {
	switch last := c.stage.Swap(stage); {
	case last == stage:
	case stage == checking:
		c.observer.checking.Add(1)
	case last == checking:
		c.observer.checking.Add(-1)
	}
}

// watchLater has c watched after a tick, together with all acquires that begin meanwhile. They are
// a list without a lock.
func (o *observer) watchLater(c *acquireContext) {
	first := o.newcomers.Load()
	for c.next = first; !o.newcomers.CompareAndSwap(first, c); c.next = first {
		first = o.newcomers.Load()
	}
	if first == nil {
		time.AfterFunc(acquireTick, func() {
			for c := o.newcomers.Swap(nil); c != nil; {
				c.watch()
				c, c.next = c.next, nil // a waiter does not keep the others in memory
			}
		})
	}
}

func (o *observer) TraceAcquireStart(
	ctx context.Context, pool *pgxpool.Pool, _ pgxpool.TraceAcquireStartData,
) context.Context {
	if pool != o.pool.Load() || ctx.Err() != nil {
		// Another pool has this one's hooks, or there is nothing to limit.
		if acquireContextOf(ctx) != nil { // called by a hook, with the hook's ctx
			return context.WithValue(ctx, acquireContextKey{}, nil)
		}
		return ctx
	}
	o.waiting.Add(1)
	o.addLoad(1)
	c := &acquireContext{Context: ctx, observer: o, began: o.clock()}
	if o.settings.AcquireTimeout > 0 {
		c.done = make(chan struct{})
		o.watchLater(c)
	}
	return c
}

func (o *observer) TraceAcquireEnd(ctx context.Context, _ *pgxpool.Pool, data pgxpool.TraceAcquireEndData) {
	c := o.acquireOf(ctx)
	if c == nil {
		return
	}
	o.waiting.Add(-1)
	now := c.began // near enough for a holder, and reading the clock costs a tenth of an acquire
	if c.finish() || c.done == nil || o.metrics != nil {
		now = o.clock()
	}
	if data.Err != nil {
		o.addLoad(-1)
		o.acquireFailed(ctx, data.Err)
		return
	}
	if s := c.session; s != nil {
		s.acquired(now, o.leaks.stack(now))
		o.watchLeaks(o.leaks.threshold)
	}
	if o.metrics != nil {
		o.metrics.WaitTime(now - c.began)
	}
}

func (o *observer) addLoad(n int64) {
	if o.settings.Load != nil {
		o.settings.Load.Add(n)
	}
}

// acquireOf returns the Acquire that a hook runs for, or nil if it belongs to another pool.
func (o *observer) acquireOf(ctx context.Context) *acquireContext {
	if c := acquireContextOf(ctx); c != nil && c.observer == o {
		return c
	}
	return nil
}
