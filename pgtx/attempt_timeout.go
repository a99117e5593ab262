package pgtx

import (
	"context"
	"errors"
	"fmt"
)

// ErrAttemptTimeout is the cause of the end of the function's ctx after Options.AttemptTimeout, and
// what another attempt, or the [*RetryError], comes of. It wraps [context.DeadlineExceeded].
var ErrAttemptTimeout = fmt.Errorf("transaction: AttemptTimeout is over: %w", context.DeadlineExceeded)

// attemptWithin is the ctx of one attempt.
func (o Options) attemptWithin(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.AttemptTimeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, o.AttemptTimeout, ErrAttemptTimeout)
}

// overdue reports whether err is that the attempt took too long, and not the call. An error of
// another kind, met when the time was already over, stands for itself.
func (s *session) overdue(err error) bool {
	return s.ctx != nil && errors.Is(context.Cause(s.ctx), ErrAttemptTimeout) && errors.Is(err, context.DeadlineExceeded)
}

// explain says that it was the attempt's limit, of which pgx knows only that ctx ended.
func (s *session) explain(err error) error {
	if s.overdue(err) && !errors.Is(err, ErrAttemptTimeout) {
		return fmt.Errorf("%w: %w", ErrAttemptTimeout, err)
	}
	return err
}
