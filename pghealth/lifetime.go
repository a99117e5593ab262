package pghealth

import (
	"context"
	"sync"
	"time"
)

// lifetime owns the goroutines of a probe.
type lifetime struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	ended   bool
	running sync.WaitGroup
}

func newLifetime() *lifetime {
	ctx, cancel := context.WithCancel(context.Background())
	return &lifetime{ctx: ctx, cancel: cancel}
}

// start runs fn in a goroutine and reports false if the lifetime is over.
func (l *lifetime) start(fn func(ctx context.Context)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.running.Go(func() { fn(l.ctx) })
	return true
}

// end cancels what runs and waits for it, at most for limit: what runs includes functions of the
// application.
func (l *lifetime) end(limit time.Duration) {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.cancel()

	done := make(chan struct{})
	go func() {
		l.running.Wait()
		close(done)
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
