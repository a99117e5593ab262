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

// backoff reports each pause, because only here its length is known. last is the error of the last
// try.
func (r *run) backoff(last *error) retry.Backoff {
	next := retry.WithJitterPercent(50, retry.WithCappedDuration(retryMost, retry.NewExponential(retryFirst)))
	return retry.BackoffFunc(func() (time.Duration, bool) {
		pause, stop := next.Next()
		reason := causeText(*last)
		e, log := Event{Kind: EventRetry}, []any{"pause", pause, "reason", reason}
		if s := r.step; s != nil {
			e = s.event(EventRetry)
			log = append(log, "migration", s.migration.Name, "direction", string(s.direction), "try", s.tries)
		}
		r.m.settings.logger.Warn("a lock is in the way, trying again", log...)
		e.Duration, e.Err = pause, errors.New(reason)
		r.m.settings.event(e)
		return pause, stop
	})
}

// retryable reports whether what was tried was undone because of somebody else's locks.
func (r *run) retryable(err error) bool {
	if r.conn.IsClosed() || r.conn.PgConn().TxStatus() != 'I' {
		return false
	}
	switch pgerr.Of(err) {
	case pgerr.LockTimeout, pgerr.Deadlock:
		return true
	default:
		return false
	}
}
