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
// when a pool is closed: an acquire arms a timer, which arms itself again only while a connection
// is held.
type leaks struct {
	threshold time.Duration
	recording atomic.Int64 // until when acquires record their stack, on the observer's clock
	armed     atomic.Bool
	mu        sync.Mutex // guards arming
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

// watchLeaks is called when the holder is known. The scan clears armed before it looks, so either
// it sees the holder, or watchLeaks sees armed cleared.
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
	now := o.clock()
	held, hijacked := o.held()
	over := 0 // the threshold; the oldest come first
	for over < len(held) && now-held[over].since >= o.leaks.threshold {
		over++
	}
	next := time.Duration(-1)
	if over < len(held) {
		next = o.leaks.threshold - (now - held[over].since)
	}
	var found []*hold
	for _, h := range held[:over] {
		// As many as were hijacked may be held for as long as they like.
		if over > hijacked && !h.reported && h.session.report(h.since) {
			found = append(found, h)
		}
	}
	if len(found) > 0 {
		o.leaks.recording.Store(int64(now + recordFor*o.leaks.threshold))
	}
	for _, h := range found {
		attrs := append(o.leakAttrs(h), slog.Duration("threshold", o.leaks.threshold))
		if hijacked > 0 {
			attrs = append(attrs, slog.Int("of_these_hijacked", hijacked))
		}
		if len(h.stack) == 0 {
			attrs = append(attrs, slog.String("hint", "the stack of further acquires is recorded for a while"))
		}
		o.warnOfLeak("connection held too long, perhaps leaked", attrs)
	}
	if next >= 0 {
		o.armLeaks(next)
	}
}

// report marks the use that began at since as reported. It returns false if it has ended.
func (s *session) report(since time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.holding || s.since != since {
		return false
	}
	s.reported = true
	return true
}

func (o *observer) leakCameBack(h *hold) {
	o.warnOfLeak("connection that was held too long came back", o.leakAttrs(h))
}

func (o *observer) warnOfLeak(message string, attrs []slog.Attr) {
	o.settings.Logger.LogAttrs(context.Background(), slog.LevelWarn, message, attrs...)
}

func (o *observer) leakAttrs(h *hold) []slog.Attr {
	holder := o.holder(h, maxLoggedSQL)
	attrs := []slog.Attr{
		slog.Uint64("pid", uint64(holder.PID)), slog.Duration("held", holder.Age), slog.String("sql", holder.SQL),
	}
	if stack := holder.Stack(); stack != "" {
		attrs = append(attrs, slog.String("stack", stack))
	}
	return attrs
}
