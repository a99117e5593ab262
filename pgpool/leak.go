package pgpool

import (
	"context"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"
)

// leaks watches for connections that are held too long. It has no goroutine, because nothing tells
// when a pool is closed: an acquire arms a timer, which arms itself again only while a connection
// is held.
type leaks struct {
	threshold time.Duration
	recording atomic.Int64 // until when acquires record their stack, on the observer's clock
	armed     atomic.Bool
}

const (
	// maxStack is deep enough for a handler under a router and its middleware.
	maxStack = 48 // calls
	// recordFor is how many thresholds long acquires record their stack after a leak was seen: long
	// enough for the next one of the same kind, and not for the life of the process.
	recordFor = 10
)

func (l *leaks) stack(now time.Duration) []uintptr {
	if until := l.recording.Load(); until == 0 || int64(now) > until {
		return nil
	}
	calls := make([]uintptr, maxStack)
	return calls[:runtime.Callers(3, calls)]
}

// watchLeaks schedules a scan unless one is scheduled. An acquire calls it when the holder is
// known. The scan clears armed before it looks, so either the scan sees the holder or watchLeaks
// sees armed cleared.
func (o *observer) watchLeaks(wait time.Duration) {
	if wait > 0 && !o.leaks.armed.Load() && o.leaks.armed.CompareAndSwap(false, true) {
		time.AfterFunc(wait, o.scanForLeaks)
	}
}

func (o *observer) scanForLeaks() {
	o.leaks.armed.Store(false)
	now := o.clock()
	held, hijacked := o.held()
	over := 0 // the threshold; the oldest come first
	for over < len(held) && now-held[over].since >= o.leaks.threshold {
		over++
	}
	var found []Holder
	for _, h := range held[:over] {
		// That many connections were hijacked and may be held for any time.
		if over > hijacked && h.session.report(h.since) {
			found = append(found, h)
		}
	}
	if len(found) > 0 {
		o.leaks.recording.Store(int64(now + recordFor*o.leaks.threshold))
	}
	attrs := []slog.Attr{
		slog.Duration("threshold", o.leaks.threshold),
		slog.String("hint", "the stack of further acquires is recorded for a while"),
	}
	if hijacked > 0 {
		attrs = append(attrs, slog.Int("of_these_hijacked", hijacked))
	}
	o.warnOfLeaks("connection held too long, perhaps leaked", found, attrs...)
	if over < len(held) {
		o.watchLeaks(o.leaks.threshold - (now - held[over].since))
	}
}

// report marks the use that began at since as reported. It returns false if that was done before,
// or if the use has ended.
func (s *session) report(since time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.holding || s.since != since || s.reported {
		return false
	}
	s.reported = true
	return true
}

func (o *observer) warnOfLeaks(message string, holders []Holder, more ...slog.Attr) {
	for _, h := range describe(holders, 0, maxLoggedSQL) {
		attrs := append([]slog.Attr{
			slog.Uint64("pid", uint64(h.PID)), slog.Duration("held", h.Age), slog.String("sql", h.SQL),
		}, more...)
		if stack := h.Stack(); stack != "" {
			attrs = append(attrs, slog.String("stack", stack))
		}
		o.settings.Logger.LogAttrs(context.Background(), slog.LevelWarn, message, attrs...)
	}
}
