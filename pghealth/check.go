package pghealth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// check observes one thing, keeps the last observation, and logs when it changes.
type check struct {
	name      string // Options.Name, a colon, what is observed
	component string
	measure   func(ctx context.Context) observation
	blocking  bool   // measure may block
	advisory  bool   // warns where others fail
	follows   *check // must pass before measure runs, and logs that the database is silent; nil: none
	late      string // output when measure did not end in time
	db        *database

	mu     sync.Mutex
	last   observation // last.time is zero before the first
	logged observation // the last one that was logged
	flight *flight     // nil: measure is not running
}

// flight is one running call of measure.
type flight struct {
	asked time.Time     // by its first caller
	done  chan struct{} // closed when seen is set
	seen  observation
}

// observe returns an observation that was at most Options.MaxAge old when the caller asked, or
// waits for the running measure. It waits no longer than timeout and the probe's lifetime. The
// measure continues without the caller, so that a slow database is not down forever.
//
// The wait goes on if the caller hangs up. That says nothing about the database, and others may
// share the answer.
func (c *check) observe(asked time.Time, timeout time.Duration) observation {
	if !c.blocking {
		return c.record(c.guard(c.db.life.ctx))
	}
	f, recent, ok := c.join(asked)
	if ok {
		return recent
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-f.done:
		return f.seen
	case <-timer.C:
		return c.recordLate(f, timeout)
	case <-c.db.life.ctx.Done():
		return c.settle(closedProbe())
	}
}

// join returns an observation that is recent enough, or the flight to wait for.
func (c *check) join(asked time.Time) (*flight, observation, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last.made.After(asked.Add(-max(c.db.opts.MaxAge, 0))) && c.db.life.ctx.Err() == nil {
		return nil, c.last, true
	}
	if c.flight == nil {
		f := &flight{asked: asked, done: make(chan struct{})}
		if !c.db.life.start(func(ctx context.Context) { c.fly(ctx, f) }) {
			return nil, c.settle(closedProbe()), true
		}
		c.flight = f
	}
	return c.flight, observation{}, false
}

// fly measures for the callers of f. Its limit ends a measure after its callers have given up. It
// allows one wait for the connection, one attempt to connect and one query.
func (c *check) fly(life context.Context, f *flight) {
	ctx, cancel := context.WithTimeout(life, maxConnecting+2*c.db.opts.Timeout)
	defer cancel()
	seen := failure(errors.New("the check called runtime.Goexit"), "the check did not return")
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if life.Err() != nil {
			f.seen = c.settle(closedProbe()) // closing the probe interrupted the measure
		} else {
			f.seen = c.recordLocked(seen)
		}
		c.flight = nil
		close(f.done)
	}()
	if first := c.lead(ctx, f.asked); first.Status != pass {
		seen = first
		return
	}
	seen = c.guard(ctx)
}

// lead asks the check that c follows. While the database cannot be reached, one check tries to
// connect, the others wait for it, and the log gets one record.
func (c *check) lead(ctx context.Context, asked time.Time) observation {
	if c.follows == nil {
		return observation{Status: pass}
	}
	running, first, ok := c.follows.join(asked)
	if !ok {
		select {
		case <-running.done:
			first = running.seen
		case <-ctx.Done():
			return failure(context.Cause(ctx), outputNoAnswer)
		}
	}
	if first.cause == nil || errors.Is(first.cause, errReadOnly) {
		return observation{Status: pass} // the database answered
	}
	seen := observation{Status: first.Status, Category: first.Category, Output: outputUnreached, unobserved: true}
	if first.Status == warn {
		seen.Output = first.Output
	}
	return seen
}

// guard runs measure and recovers from panics. A Schema or a hook of the pool may panic, and that
// must not end the process. The health library cannot catch it in this goroutine.
func (c *check) guard(ctx context.Context) (seen observation) {
	defer func() {
		if v := recover(); v != nil {
			seen = failure(fmt.Errorf("panic: %v\n%s", v, debug.Stack()), "the check panicked")
		}
	}()
	return c.measure(ctx)
}

// settle names the component, and turns a failure of an advisory check into a warning.
func (c *check) settle(seen observation) observation {
	seen.Component = c.component
	if c.advisory && seen.Status == fail {
		seen.Status = warn
	}
	return seen
}

// recordLate records that f did not end in time.
func (c *check) recordLate(f *flight, timeout time.Duration) observation {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flight != f { // f ended just as the timer fired
		return f.seen
	}
	seen := failure(fmt.Errorf("no answer within %v: %w", timeout, context.DeadlineExceeded), c.late)
	seen.unobserved = c.follows != nil
	return c.recordLocked(seen)
}

func (c *check) record(seen observation) observation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.recordLocked(seen)
}

func (c *check) recordLocked(seen observation) observation {
	seen = c.settle(seen).stamp()
	if seen.equals(c.last) {
		seen.Since = c.last.Since
	}
	c.last = seen
	if seen.unobserved || seen.equals(c.logged) {
		return seen
	}
	if !c.logged.Time.IsZero() || seen.Status != pass {
		c.log(c.logged, seen)
	}
	c.logged = seen
	return seen
}

// log reports a change. Reporting every failure would flood the log: each instance is probed every
// few seconds.
func (c *check) log(before, now observation) {
	level := map[status]slog.Level{pass: slog.LevelInfo, warn: slog.LevelWarn, fail: slog.LevelError}[now.Status]
	if c.db.drained.Load() {
		level = slog.LevelInfo
	}
	attrs := []slog.Attr{slog.String("check", c.name), slog.String("status", string(now.Status))}
	if now.Category != "" {
		attrs = append(attrs, slog.String("category", string(now.Category)))
	}
	if now.Output != "" {
		attrs = append(attrs, slog.String("output", now.Output))
	}
	if now.cause != nil {
		attrs = append(attrs, slog.String("cause", now.cause.Error()))
	}
	if !before.Time.IsZero() {
		attrs = append(attrs, slog.String("before", string(before.Status)),
			slog.Duration("for", max(now.Time.Sub(before.Since), 0).Round(time.Millisecond)))
	}
	c.db.opts.Logger.LogAttrs(context.Background(), level, "database health changed", attrs...)
}

// latest returns the last recorded observation, if there is one.
func (c *check) latest() (observation, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last, !c.last.Time.IsZero()
}

var errClosed = fmt.Errorf("the health probe is closed: %w", context.Canceled)

func closedProbe() observation { return failure(errClosed, "the health probe is closed").stamp() }
