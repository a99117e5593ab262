package pgmigrate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sethvargo/go-retry"

	"github.com/page-builder/persistence/pgerr"
)

const (
	// The first pause lets the queries pass that queued behind the failed try. The longest keeps a
	// long wait responsive.
	firstPause   = 250 * time.Millisecond
	longestPause = 5 * time.Second
)

// retry calls fn again while its error is that others hold locks.
func (r *run) retry(ctx context.Context, fn func(context.Context) error) error {
	var last error
	err := retry.Do(ctx, r.backoff(&last), func(ctx context.Context) error {
		err := fn(ctx)
		if err == nil {
			return nil
		}
		if last = err; r.retryable(err) {
			return retry.RetryableError(err)
		}
		return err
	})
	if err != nil && last != nil && !errors.Is(last, err) {
		// The context ended between two tries, and retry.Do returned only that.
		return fmt.Errorf("%w, until the context ended: %w", last, err)
	}
	return err
}

// backoff reports each pause, because only here its length is known. last is the error of the last
// try.
func (r *run) backoff(last *error) retry.Backoff {
	next := retry.WithJitterPercent(50, retry.WithCappedDuration(longestPause, retry.NewExponential(firstPause)))
	return retry.BackoffFunc(func() (time.Duration, bool) {
		pause, stop := next.Next()
		reason := causeText(*last)
		e, log := Event{Kind: EventRetry}, []any{"pause", pause, "reason", reason}
		if s := r.step; s != nil {
			e = s.event(EventRetry)
			log = append(log, "migration", s.migration.Name, "direction", string(s.direction), "try", s.tries)
		}
		r.m.settings.logger.Warn("another session holds a lock, trying again", log...)
		e.Duration, e.Err = pause, errors.New(reason)
		r.m.settings.event(e)
		return pause, stop
	})
}

// retryable reports whether the try was undone because of the locks of others.
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
