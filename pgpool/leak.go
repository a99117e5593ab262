package pgpool

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// leaks watches for connections that are held too long. It has no goroutine, because nothing tells
// when a pool is closed: a timer is armed by an acquire, and again by itself only while somebody
// holds a connection.
type leaks struct {
	threshold time.Duration
	recording atomic.Bool // a leak was seen: acquires record their stack
	armed     atomic.Bool
	mu        sync.Mutex // guards arming
}

// maxStack is deep enough for a handler under a router and its middleware.
const maxStack = 48 // calls

func (l *leaks) stack() []uintptr {
	if !l.recording.Load() {
		return nil
	}
	calls := make([]uintptr, maxStack)
	return calls[:runtime.Callers(3, calls)]
}

// watchLeaks is called after the holder is known: the scan clears armed before it looks, so it sees
// the holder, or we see armed cleared.
func (o *observer) watchLeaks() {
	if o.leaks.threshold > 0 && !o.leaks.armed.Load() {
		o.armLeaks(o.leaks.threshold)
	}
}

func (o *observer) armLeaks(wait time.Duration) {
	o.leaks.mu.Lock()
	defer o.leaks.mu.Unlock()
	if o.leaks.armed.CompareAndSwap(false, true) {
		time.AfterFunc(wait, o.scanForLeaks)
	}
}

func (o *observer) scanForLeaks() {
	o.leaks.armed.Store(false)
	now := time.Now()
	var found []Holder
	next := time.Duration(-1)
	o.sessions.each(func(s *session) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.since.IsZero() || s.reported {
			return
		}
		if age := now.Sub(s.since); age < o.leaks.threshold {
			if wait := o.leaks.threshold - age; next < 0 || wait < next {
				next = wait
			}
			return
		}
		s.reported = true
		found = append(found, s.holder())
	})
	if len(found) > 0 {
		o.leaks.recording.Store(true)
	}
	for _, h := range found {
		attrs := append(h.attrs(), slog.Duration("threshold", o.leaks.threshold))
		if len(h.stack) == 0 {
			attrs = append(attrs, slog.String("hint", "the stack of further acquires is recorded from now on"))
		}
		o.settings.Logger.LogAttrs(context.Background(), slog.LevelWarn,
			"connection held too long, perhaps leaked", attrs...)
	}
	if next >= 0 {
		o.armLeaks(next)
	}
}

func (o *observer) leakCameBack(h Holder) {
	o.settings.Logger.LogAttrs(context.Background(), slog.LevelWarn, "connection that was held too long came back",
		h.attrs()...)
}

func (h Holder) attrs() []slog.Attr {
	attrs := []slog.Attr{
		slog.Uint64("pid", uint64(h.PID)), slog.Duration("held", h.Age), slog.String("sql", h.SQL),
	}
	if stack := h.Stack(); stack != "" {
		attrs = append(attrs, slog.String("stack", stack))
	}
	return attrs
}
