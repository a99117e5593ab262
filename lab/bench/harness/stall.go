package harness

import (
	"context"
	"errors"
	"sync"
	"time"
)

// LongestStall runs fn while it calls op at every tick, each time in a new goroutine. It returns
// the duration of fn, and the longest time from a tick to the end of its call.
func LongestStall(
	ctx context.Context, every time.Duration, op, fn func(context.Context) error,
) (took, longest time.Duration, err error) {
	done := make(chan error, 1)
	began := time.Now()
	go func() { done <- fn(ctx) }()
	tick := time.NewTicker(every)
	defer tick.Stop()
	var (
		mu     sync.Mutex
		failed error
		calls  sync.WaitGroup
	)
	for {
		select {
		case err := <-done:
			took = time.Since(began)
			calls.Wait()
			return took, longest, errors.Join(err, failed)
		case due := <-tick.C:
			calls.Go(func() {
				err := op(ctx)
				mu.Lock()
				defer mu.Unlock()
				failed = errors.Join(failed, err)
				longest = max(longest, time.Since(due))
			})
		}
	}
}
