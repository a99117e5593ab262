package pghealth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/page-builder/persistence/pgerr"
)

// check makes observations of one thing, keeps the last one, and logs when it changes.
type check struct {
	name      string // Options.Name, a colon, what is observed
	component string
	measure   func(ctx context.Context) observation
	async     bool   // measure may block
	advisory  bool   // warns where others fail
	late      string // output when measure did not end in time
	timeout   time.Duration
	maxAge    time.Duration
	life      *lifetime
	logger    *slog.Logger

	mu     sync.Mutex
	last   observation // last.time is zero before the first
	told   observation // what the log knows
	flight *flight     // nil: measure is not running
}

// flight is a running measure.
type flight struct {
	done chan struct{} // closed when seen is set
	seen observation
}

// flightLimit ends a measure that nobody waits for any more: it waits for its turn, connects and
// asks.
func (c *check) flightLimit() time.Duration { return connectLimit + 2*c.timeout }

// instant is a check whose measure neither blocks nor costs anything.
func (p *Probe) instant(name, component string, measure func() observation) *check {
	return &check{
		name: p.opts.Name + ":" + name, component: component, logger: p.opts.Logger, life: p.life, timeout: p.opts.Timeout,
		measure: func(context.Context) observation { return measure() },
	}
}

// background is a check of the database.
func (p *Probe) background(name string, measure func(context.Context) observation) *check {
	return &check{
		name: p.opts.Name + ":" + name, component: componentDatastore, logger: p.opts.Logger, life: p.life,
		measure: measure, async: true, late: outputNoAnswer, timeout: p.opts.Timeout, maxAge: p.opts.MaxAge,
	}
}

// settle makes a failure of an advisory check a warning.
func (c *check) settle(seen observation) observation {
	if c.advisory && seen.status == fail {
		seen.status = warn
	}
	return seen
}

// observe returns an observation that is at most maxAge old, or one of the measure that runs. It
// waits no longer than timeout, ctx and the probe's lifetime; the measure goes on without it, so
// that slow is not never.
func (c *check) observe(ctx context.Context) observation {
	if !c.async {
		return c.record(c.guarded(ctx))
	}
	f, recent, ok := c.join()
	if ok {
		return recent
	}
	timer := time.NewTimer(c.timeout)
	defer timer.Stop()
	select {
	case <-f.done:
		return f.seen
	case <-timer.C:
		return c.overdue(f)
	case <-ctx.Done():
		// The caller's limit or loss says nothing about the database: it is not recorded.
		return c.settle(unrecorded(context.Cause(ctx), "the caller did not wait for the answer"))
	case <-c.life.ctx.Done():
		return c.settle(closedProbe())
	}
}

// join returns an observation that is recent enough, or the flight to wait for.
func (c *check) join() (*flight, observation, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if age := time.Since(c.last.time); !c.last.time.IsZero() && age < c.maxAge && c.life.ctx.Err() == nil {
		return nil, c.last, true
	}
	if c.flight == nil {
		f := &flight{done: make(chan struct{})}
		if !c.life.start(func(ctx context.Context) { c.fly(ctx, f) }) {
			return nil, c.settle(closedProbe()), true
		}
		c.flight = f
	}
	return c.flight, observation{}, false
}

func (c *check) fly(life context.Context, f *flight) {
	ctx, cancel := context.WithTimeout(life, c.flightLimit())
	defer cancel()
	seen := c.guarded(ctx)

	c.mu.Lock()
	defer c.mu.Unlock()
	if life.Err() != nil {
		f.seen = c.settle(closedProbe()) // what an interrupted measure saw is our doing
	} else {
		f.seen = c.recordLocked(seen)
	}
	c.flight = nil
	close(f.done)
}

// guarded runs measure. A Schema or a hook of the pool that panics must not end the process: a
// checker of the health library would have caught it, and this is not its goroutine.
func (c *check) guarded(ctx context.Context) (seen observation) {
	defer func() {
		if v := recover(); v != nil {
			seen = failure(fmt.Errorf("panic: %v\n%s", v, debug.Stack()), "the check panicked")
		}
	}()
	return c.measure(ctx)
}

// overdue records that f did not end in time.
func (c *check) overdue(f *flight) observation {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-f.done: // in the moment the timer fired
		return f.seen
	default:
	}
	return c.recordLocked(observation{
		status: fail, category: pgerr.Timeout, output: c.late, unobserved: c.advisory && c.component == componentDatastore,
		cause: fmt.Errorf("no answer within %v: %w", c.timeout, context.DeadlineExceeded),
	})
}

func (c *check) record(seen observation) observation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.recordLocked(seen)
}

func (c *check) recordLocked(seen observation) observation {
	seen = c.settle(seen)
	seen.time = time.Now()
	seen.since = seen.time
	if seen.like(c.last) {
		seen.since = c.last.since
	}
	c.last = seen
	// What a check could not see is for the one of connectivity to tell.
	if seen.unobserved || seen.like(c.told) {
		return seen
	}
	if !c.told.time.IsZero() || seen.status != pass {
		c.log(c.told, seen)
	}
	c.told = seen
	return seen
}

// log tells a change. Telling each failure would multiply with the instances and their probes.
func (c *check) log(before, now observation) {
	level := map[status]slog.Level{pass: slog.LevelInfo, warn: slog.LevelWarn, fail: slog.LevelError}[now.status]
	attrs := []slog.Attr{slog.String("check", c.name), slog.String("status", string(now.status))}
	if now.category != "" {
		attrs = append(attrs, slog.String("category", string(now.category)))
	}
	if now.output != "" {
		attrs = append(attrs, slog.String("output", now.output))
	}
	if now.cause != nil {
		attrs = append(attrs, slog.String("cause", now.cause.Error()))
	}
	if !before.time.IsZero() {
		attrs = append(attrs, slog.String("before", string(before.status)),
			slog.Duration("for", now.time.Sub(before.since).Round(time.Millisecond)))
	}
	c.logger.LogAttrs(context.Background(), level, "database health changed", attrs...)
}

// latest returns the last recorded observation, if there is one.
func (c *check) latest() (observation, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last, !c.last.time.IsZero()
}

var errClosed = errors.New("the health probe is closed")

func closedProbe() observation {
	seen := unrecorded(errClosed, "the health probe is closed")
	seen.category = pgerr.Canceled
	return seen
}

// unrecorded is a failure to observe, which is not an observation.
func unrecorded(err error, output string) observation {
	seen := failure(err, output)
	seen.time = time.Now()
	seen.since = seen.time
	return seen
}
