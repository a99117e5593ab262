package pgtx

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	// ErrTimeout is the cause of the end of the function's ctx after Options.Timeout. It wraps
	// [context.DeadlineExceeded].
	ErrTimeout = fmt.Errorf("transaction: Timeout is over: %w", context.DeadlineExceeded)

	// ErrAcquireTimeout is returned when no connection was free within Options.AcquireTimeout: the
	// pool is too small, or connections are held too long. It wraps [context.DeadlineExceeded]. The
	// error that it is in wraps the pool's own too.
	ErrAcquireTimeout = fmt.Errorf("no connection within AcquireTimeout: %w", context.DeadlineExceeded)
)

// preamble is what begins a transaction: BEGIN and its settings. limit is that of its statements.
func (o Options) preamble(limit time.Duration) []string {
	statements := []string{beginSQL(o.TxOptions)}
	if limit != 0 {
		statements = append(statements, "set local statement_timeout = "+milliseconds(limit))
	}
	if o.LockTimeout != 0 {
		statements = append(statements, "set local lock_timeout = "+milliseconds(o.LockTimeout))
	}
	return statements
}

// milliseconds rounds up, because 0 means no limit to the server; a negative limit is none.
func milliseconds(limit time.Duration) string {
	if limit < 0 {
		return "0"
	}
	return strconv.FormatInt(max(1, int64((limit+time.Millisecond-1)/time.Millisecond)), 10)
}

// acquireWithin is pool.Acquire with a limit.
func acquireWithin(ctx context.Context, pool acquirer, limit time.Duration) (*pgxpool.Conn, error) {
	if limit <= 0 {
		conn, err := pool.Acquire(ctx)
		return conn, inAcquire(err)
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := pool.Acquire(limited)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) && limited.Err() != nil {
		err = &acquireTimeoutError{limit: limit, pool: err}
	}
	return conn, inAcquire(err)
}

// inAcquire puts the operation before an error of a pool, unless the pool has done so itself, as
// pgpool's does.
func inAcquire(err error) error {
	if err == nil || strings.HasPrefix(err.Error(), "acquire: ") {
		return err
	}
	return fmt.Errorf("acquire: %w", err)
}

// acquireTimeoutError is ErrAcquireTimeout with what the pool says of it: pgpool's tells a busy
// pool from a server that does not answer, and names who holds the connections.
type acquireTimeoutError struct {
	limit time.Duration
	pool  error
}

func (e *acquireTimeoutError) Error() string {
	return fmt.Sprintf("acquire: no connection within AcquireTimeout (%v): %s", e.limit, strings.TrimPrefix(e.pool.Error(), "acquire: "))
}

// Unwrap has the pool's error first, whose category counts.
func (e *acquireTimeoutError) Unwrap() []error { return []error{e.pool, ErrAcquireTimeout} }

// Attempt returns how often the function of the transaction innermost in ctx has been called, this
// time included: 1 in the first attempt, 0 outside a Run.
func Attempt(ctx context.Context) int {
	if s, ok := ctx.Value(scopeKey{}).(*scope); ok {
		return s.tx.session.attempt
	}
	return 0
}

// Name returns the Options.Name of the Run innermost in ctx, "" outside. With [Attempt] it is for
// tracers of pgx: the ctx of every statement of a transaction has it, BEGIN, COMMIT and the
// savepoints included.
func Name(ctx context.Context) string {
	if s, ok := ctx.Value(scopeKey{}).(*scope); ok {
		return s.tx.name
	}
	return ""
}

// within gives ctx the limit of o.Timeout. The error is to be passed through the function that
// comes with it; o's observer is told the same.
func (o *Options) within(ctx context.Context) (context.Context, context.CancelFunc, func(error) error) {
	if o.Timeout <= 0 {
		return ctx, func() {}, func(err error) error { return err }
	}
	called := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, o.Timeout, ErrTimeout)
	explain := func(err error) error {
		// pgx reports that ctx ended, but not why.
		if errors.Is(context.Cause(ctx), ErrTimeout) && errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrTimeout) {
			return PhaseRun.in(called, fmt.Errorf("%w: %w", ErrTimeout, err))
		}
		return err
	}
	if observe := o.Observe; observe != nil {
		o.Observe = func(ctx context.Context, r Report) {
			r.Err = explain(r.Err)
			observe(ctx, r)
		}
	}
	return ctx, cancel, explain
}

// again asks RetryIf, if there is one, about an attempt that was rolled back with err.
func (o Options) again(err error, retryable bool) bool {
	if o.RetryIf == nil || err == nil || errors.As(err, new(*CommitUnknownError)) || errors.As(err, new(*HookError)) {
		return retryable
	}
	return o.RetryIf(err, retryable)
}
