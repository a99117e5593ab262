package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// recoverLimit limits how long writes may fail, and how long the system may take to recover.
	recoverLimit = 2 * time.Minute
	// loadedLimit limits how long the load goes on while the system has not recovered.
	loadedLimit = time.Minute
	// rejoinLimit is enough for a node that copies the whole database on a busy machine. After that
	// Mend runs, and the node gets the same time again.
	rejoinLimit = 90 * time.Second
)

// bring injects the fault and repairs it, even if something fails in between. It returns the times
// of both.
func (r *round) bring(ctx context.Context, fault Fault) (repaired time.Time, err error) {
	r.step("%s", fault.Name)
	injected := time.Now()
	if err := fault.Inject(ctx); err != nil {
		return injected, fmt.Errorf("inject: %w", err)
	}
	sleep(ctx, fault.Hold)
	if fault.Heals {
		back := injected.Add(max(fault.Hold, time.Second))
		err = r.until(ctx, "writes are back", func() bool { return r.flows(back, 10) })
	}
	if fault.Repair != nil {
		r.step("repair")
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recoverLimit)
		defer cancel()
		if failed := fault.Repair(ctx); failed != nil {
			err = errors.Join(err, fmt.Errorf("repair: %w", failed))
		}
	}
	return time.Now(), err
}

func (r *round) until(ctx context.Context, what string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, recoverLimit)
	defer cancel()
	for !done() {
		if ctx.Err() != nil {
			return fmt.Errorf("waited %v in vain until %s", recoverLimit, what)
		}
		sleep(ctx, 50*time.Millisecond)
	}
	r.step("%s", what)
	return nil
}

// flows reports whether each of our sides has had that many acknowledgements since then.
func (r *round) flows(since time.Time, n int) bool {
	for _, s := range r.ours {
		if s.acks.after(since) < n {
			return false
		}
	}
	return true
}

// whole waits until the system has recovered.
func (r *round) whole(ctx context.Context, limit time.Duration) error {
	if r.system.Ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := r.system.Ready(ctx)
	if err == nil {
		r.step("the system is whole")
	}
	return err
}

func (r *round) mend(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recoverLimit)
	defer cancel()
	return r.system.Mend(ctx)
}
