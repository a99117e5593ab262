package pgtx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgerr"
	"github.com/sethvargo/go-retry"
)

const (
	// retryBase is the upper end of the first wait, doubled for each further one. Two transactions
	// that have just met on the same rows need about the length of one to get out of each other's
	// way: some milliseconds.
	retryBase = 25 * time.Millisecond
	// retryCap bounds one wait, for those who raise MaxAttempts to outlast a restart of the server.
	retryCap = time.Second
)

// newBackoff makes the waits of one call: exponential with full jitter. go-retry's backoffs hold
// state, so that two calls must not share one; its WithJitter and NewExponential panic on 0, which
// the constants rule out.
func newBackoff() retry.Backoff {
	return retry.WithFullJitter(retry.WithCappedDuration(retryCap, retry.NewExponential(retryBase)))
}

// pause waits for the next attempt. It returns an error if ctx ends first, and without waiting if
// it is bound to. go-retry's own loop is not used, for two reasons: it drops the database's error
// when ctx ends, and it takes an error that fn marked with retry.RetryableError for its own.
func pause(ctx context.Context, backoff retry.Backoff) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	wait, _ := backoff.Next()
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		return fmt.Errorf("no time for another attempt: %w", context.DeadlineExceeded)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// worthRepeating reports whether a transaction that was rolled back with err may run again as a
// whole. lost says that its connection was gone before COMMIT was sent.
func worthRepeating(err error, lost bool) bool {
	if ofAnother(err) {
		return false
	}
	var pgError *pgconn.PgError
	if errors.As(err, &pgError) {
		return pgerr.Retryable(err)
	}
	// A network error can come from anywhere the function talked to: only with our own connection
	// gone is it ours.
	return lost && pgerr.Retryable(err)
}

// ofAnother reports whether err is final because of a transaction on a second database, run inside
// this one: an unknown or committed one must not be doubled, an exhausted one has had its attempts.
func ofAnother(err error) bool {
	return errors.As(err, new(*CommitUnknownError)) || errors.As(err, new(*RetryError)) || errors.As(err, new(*HookError))
}

// again reports whether another attempt follows one that was rolled back with err, where
// worthRepeating, which knows no session, said retryable.
func (s *session) again(err error, retryable bool) bool {
	if !ofAnother(err) {
		retryable = retryable || s.overdue(err) || s.demoted(err)
	}
	return s.call.Err() == nil && s.opts.again(err, retryable)
}

// demoted reports whether the server refused a write as read-only (25006) in a transaction that was
// not meant to be: it is a standby that a failover has not promoted yet, or a primary that was
// demoted, and the next attempt may find the primary. The server's own in_hot_standby would tell
// for certain, but PgBouncer answers for an earlier server.
func (s *session) demoted(err error) bool {
	var pgError *pgconn.PgError
	return errors.As(err, &pgError) && pgError.Code == "25006" && s.txOptions.AccessMode != pgx.ReadOnly && !s.readsOnly
}
