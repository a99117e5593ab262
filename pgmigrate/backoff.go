package pgmigrate

import (
	"errors"
	"time"

	"github.com/sethvargo/go-retry"

	"github.com/page-builder/persistence/pgerr"
)

const (
	// The first pause lets what queued behind the failed try through; the longest keeps a long wait
	// responsive.
	retryFirst = 250 * time.Millisecond
	retryMost  = 5 * time.Second
)

// backoff reports each pause, because only here its length is known.
func (r *run) backoff() retry.Backoff {
	fresh := func() retry.Backoff {
		return retry.WithJitterPercent(50, retry.WithCappedDuration(retryMost, retry.NewExponential(retryFirst)))
	}
	next := fresh()
	return retry.BackoffFunc(func() (time.Duration, bool) {
		if r.tries <= 1 {
			next = fresh() // another step than the last time
		}
		pause, stop := next.Next()
		s := r.tracer.step
		r.m.settings.logger.Warn("a lock is in the way, trying again", "migration", s.migration.Name,
			"direction", string(s.direction), "try", r.tries, "pause", pause, "reason", s.failure)
		r.m.settings.event(Event{
			Kind: EventRetry, Version: s.migration.Version, Name: s.migration.Name, Direction: s.direction,
			Duration: pause, Err: errors.New(s.failure),
		})
		return pause, stop
	})
}

// retryable reports whether the current step was rolled back because of somebody else's locks.
func (r *run) retryable(err error) bool {
	s := r.tracer.step
	if s == nil || !s.transactional || r.conn.IsClosed() {
		return false
	}
	switch pgerr.Of(err) {
	case pgerr.LockTimeout, pgerr.Deadlock:
		s.failure = causeText(err)
		return true
	default:
		return false
	}
}
