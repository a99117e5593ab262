package pgtx_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtx"
)

// A first attempt that hangs costs its limit, and the second one commits.
func TestAttemptTimeoutRepeats(t *testing.T) {
	t.Parallel()
	hang := map[string]func(ctx context.Context, tx pgx.Tx) error{
		"in a statement":     func(ctx context.Context, tx pgx.Tx) error { _, err := tx.Exec(ctx, `select pg_sleep(60)`); return err },
		"between statements": func(ctx context.Context, _ pgx.Tx) error { <-ctx.Done(); return ctx.Err() },
		"and says nothing":   func(ctx context.Context, _ pgx.Tx) error { <-ctx.Done(); return nil },
	}
	for name, wait := range hang {
		for option, opts := range map[string]pgtx.Options{"lazy": {}, "eager": {Eager: true}, "verified": {VerifyCommit: true}, "limited": {StatementTimeout: time.Minute}} {
			t.Run(name+", "+option, func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				opts.AttemptTimeout, opts.MaxAttempts = time.Second, 20
				var cause error
				err := pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
					if err := add(ctx, tx, 1, 1); err != nil || pgtx.Attempt(ctx) > 1 {
						return err
					}
					err := wait(ctx, tx)
					<-ctx.Done() // the server's limit may have ended the statement a moment before
					cause = context.Cause(ctx)
					return errors.Join(err, ctxError(err, cause))
				})
				if err != nil {
					t.Fatal(err)
				}
				if !errors.Is(cause, pgtx.ErrAttemptTimeout) {
					t.Errorf("the cause is %v, want ErrAttemptTimeout", cause)
				}
				if balance := b.balance(t, 1); balance != 101 {
					t.Errorf("balance is %d, want 101", balance)
				}
				b.clean(t, b.pool)
			})
		}
	}
}

// ctxError is cause if there is another error to go with it.
func ctxError(err, cause error) error {
	if err == nil {
		return nil
	}
	return cause
}

func TestAttemptTimeoutEnds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	own := errors.New("its own")
	for name, test := range map[string]struct {
		opts     pgtx.Options
		err      error // of the function, after its time
		attempts int
		want     error
	}{
		"when no attempt is left":     {pgtx.Options{MaxAttempts: 2}, nil, 2, pgtx.ErrAttemptTimeout},
		"at once, with one attempt":   {pgtx.Options{MaxAttempts: 1}, nil, 1, pgtx.ErrAttemptTimeout},
		"with the call":               {pgtx.Options{Timeout: 300 * time.Millisecond}, nil, 0, pgtx.ErrTimeout},
		"at an error of another kind": {pgtx.Options{}, own, 1, own},
		"where RetryIf wants no further": {pgtx.Options{RetryIf: func(error, bool) bool {
			return false
		}}, nil, 1, pgtx.ErrAttemptTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.opts.AttemptTimeout = 200 * time.Millisecond
			calls := 0
			err := pgtx.RunWith(t.Context(), b.pool, test.opts, func(ctx context.Context, tx pgx.Tx) error {
				calls++
				if err := add(context.WithoutCancel(ctx), tx, 1, 1); err != nil {
					return err
				}
				<-ctx.Done()
				return test.err
			})
			if !errors.Is(err, test.want) || test.attempts > 0 && calls != test.attempts {
				t.Errorf("%d calls, %v; want %d, %v", calls, err, test.attempts, test.want)
			}
			var exhausted *pgtx.RetryError
			if test.attempts > 1 && (!errors.As(err, &exhausted) || exhausted.Attempts != test.attempts) {
				t.Errorf("error is %v, want a RetryError of %d attempts", err, test.attempts)
			}
		})
	}
	t.Cleanup(func() {
		if balance := b.balance(t, 1); balance != 100 {
			t.Errorf("balance is %d, want 100", balance)
		}
	})
}

func TestAttemptTimeoutIsOfTheOutermost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	limited := pgtx.Options{AttemptTimeout: time.Minute}
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, _ pgx.Tx) error {
		return pgtx.RunWith(ctx, b.pool, limited, func(context.Context, pgx.Tx) error { return nil })
	})
	if !errors.Is(err, pgtx.ErrOptionConflict) {
		t.Errorf("error is %v, want ErrOptionConflict", err)
	}
}
