package pgpool

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// acquireTick is how far past its limit an acquire may end, and how late it may notice that its
// caller gave up while it waits.
const acquireTick = 5 * time.Millisecond

// acquireContext is the context of one Acquire of the pool. pgxpool has no limit on the wait for a
// connection, but it uses the context that TraceAcquireStart returns for the rest of Acquire, and
// only for that: the query that follows runs on the caller's context. When it ends, the pool
// returns its error, which is where the AcquireError comes from. A connect under way does not end
// with it and serves the next caller.
//
// It also says to the other hooks on whose behalf they run.
type acquireContext struct {
	context.Context // the caller's
	observer        *observer
	began           time.Duration // on the observer's clock
	done            chan struct{} // nil: there is no limit
	// asking is set when the acquire has got a place in the pool and waits for the server there.
	asking atomic.Bool
	// checking is the part of asking that happens on a connection of the pool: a ping or a look at
	// the server's role. The observer counts these.
	checking atomic.Bool

	next, prev *acquireContext // in acquires, guarded by its mu
	seen       bool            // tick has it; guarded by the same

	mu       sync.Mutex
	finished bool // Acquire has returned
	err      error
	unwatch  func() bool // stops watching the caller's context, or nil
}

func (c *acquireContext) Done() <-chan struct{} {
	if c.done == nil {
		return c.Context.Done()
	}
	return c.done
}

func (c *acquireContext) Deadline() (time.Time, bool) {
	deadline, ok := c.Context.Deadline()
	if c.done != nil {
		if own := c.observer.epoch.Add(c.began + c.observer.settings.AcquireTimeout); !ok || own.Before(deadline) {
			return own, true
		}
	}
	return deadline, ok
}

// Err is an AcquireError after the limit or the caller's deadline, and the caller's own error if
// the caller gave up.
func (c *acquireContext) Err() error {
	if c.done == nil {
		return c.Context.Err()
	}
	c.followCaller()
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

// followCaller ends c if the caller's context has ended.
func (c *acquireContext) followCaller() {
	err := c.Context.Err()
	if err == nil {
		return
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = c.observer.acquireError(c, true)
	}
	c.end(err)
}

// end ends c with err, unless it has ended or Acquire has returned.
func (c *acquireContext) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && !c.finished {
		c.err = err
		close(c.done)
	}
}

// check records that the acquire asks the server on a connection of the pool.
func (c *acquireContext) check() {
	c.asking.Store(true)
	if !c.checking.Swap(true) {
		c.observer.checking.Add(1)
	}
}

// finish is called when Acquire has returned.
func (c *acquireContext) finish() {
	if c.checking.Load() {
		c.observer.checking.Add(-1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finished = true
	if c.unwatch != nil {
		c.unwatch()
	}
}

// watch makes c follow its caller's context from now on.
func (c *acquireContext) watch() {
	if c.Context.Done() == nil {
		return
	}
	unwatch := context.AfterFunc(c.Context, c.followCaller)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finished {
		unwatch()
		return
	}
	c.unwatch = unwatch
}

// acquires are the callers inside Acquire in the order in which they came. All of them have the
// same limit, so the first is always the next to end. One timer for the pool looks after them every
// acquireTick: a timer and a watch for each acquire would cost more than the acquire, and nearly
// all have returned before the first tick.
type acquires struct {
	mu          sync.Mutex
	first, last *acquireContext
	unwatched   *acquireContext // the first that has come since the last tick
	timer       *time.Timer
	ticking     bool
}

func (a *acquires) add(c *acquireContext) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.prev = a.last; c.prev == nil {
		a.first = c
	} else {
		c.prev.next = c
	}
	a.last = c
	if a.unwatched == nil {
		a.unwatched = c
	}
	if a.ticking {
		return
	}
	a.ticking = true
	if a.timer == nil {
		a.timer = time.AfterFunc(acquireTick, c.observer.tick)
	} else {
		a.timer.Reset(acquireTick)
	}
}

// remove returns false if c belongs to nobody but its caller, as nearly all do.
func (a *acquires) remove(c *acquireContext) (seen bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unlink(c)
	return c.seen
}

// unlink is called with mu held, and more than once for those that end by the limit.
func (a *acquires) unlink(c *acquireContext) {
	if c != a.first && c.prev == nil {
		return
	}
	if a.unwatched == c {
		a.unwatched = c.next
	}
	if c.prev == nil {
		a.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		a.last = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.next, c.prev = nil, nil
}

// due returns those whose limit is over, which it removes, and those whose callers are to be
// watched from now on.
func (a *acquires) due(oldest time.Duration) (over, waiting []*acquireContext) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := a.first; c != nil && c.began <= oldest; c = a.first {
		c.seen = true
		over = append(over, c)
		a.unlink(c)
	}
	for c := a.unwatched; c != nil; c = c.next {
		c.seen = true
		waiting = append(waiting, c)
	}
	a.unwatched = nil
	if a.ticking = a.first != nil; a.ticking {
		a.timer.Reset(acquireTick)
	}
	return over, waiting
}

func (o *observer) tick() {
	over, waiting := o.acquires.due(o.clock() - o.settings.AcquireTimeout)
	for _, c := range over {
		c.end(o.acquireError(c, false))
	}
	for _, c := range waiting {
		c.watch()
	}
}

func (o *observer) TraceAcquireStart(
	ctx context.Context, pool *pgxpool.Pool, _ pgxpool.TraceAcquireStartData,
) context.Context {
	if pool != o.pool.Load() || ctx.Err() != nil || ctx.Value(peekKey{}) != nil {
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
		o.acquires.add(c)
	}
	return c
}

func (o *observer) TraceAcquireEnd(ctx context.Context, _ *pgxpool.Pool, data pgxpool.TraceAcquireEndData) {
	c := o.acquireOf(ctx)
	if c == nil {
		return
	}
	o.waiting.Add(-1)
	if c.done != nil && o.acquires.remove(c) {
		c.finish()
	}
	if data.Err != nil {
		o.addLoad(-1)
		o.acquireFailed(ctx, data.Err)
		return
	}
	now := o.clock()
	if s := o.claim(data.Conn); s != nil {
		s.acquired(now, o.leaks.stack(now))
		o.watchLeaks()
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

// acquireOf returns the Acquire that a hook runs for, or nil if that is none of this pool's.
func (o *observer) acquireOf(ctx context.Context) *acquireContext {
	if c := acquireContextOf(ctx); c != nil && c.observer == o {
		return c
	}
	return nil
}
