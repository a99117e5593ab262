package pgtx_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtx"
)

var errBusiness = errors.New("not enough money")

func TestRunCommitsOnNil(t *testing.T) {
	t.Parallel()
	b := setup(t)
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		if err := add(ctx, tx, 1, -10); err != nil {
			return err
		}
		return add(ctx, tx, 2, 10)
	})
	if err != nil {
		t.Fatal(err)
	}
	if one, two := b.balance(t, 1), b.balance(t, 2); one != 90 || two != 110 {
		t.Errorf("balances are %d and %d, want 90 and 110", one, two)
	}
}

func TestRunRollsBackOnError(t *testing.T) {
	t.Parallel()
	b := setup(t)
	calls := 0
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		calls++
		if err := add(ctx, tx, 1, -10); err != nil {
			return err
		}
		return errBusiness
	})
	if err != errBusiness {
		t.Errorf("error is %v, want the function's own as it is", err)
	}
	if calls != 1 {
		t.Errorf("function called %d times, want 1: its own error is no reason to repeat it", calls)
	}
	if got := b.balance(t, 1); got != 100 {
		t.Errorf("balance is %d, want 100", got)
	}
}

func TestRunReraisesPanicWithItsStack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var stack string
	func() {
		defer func() {
			if got := recover(); got != "boom" {
				t.Errorf("recovered %v, want boom", got)
			}
			buf := make([]byte, 16<<10)
			stack = string(buf[:runtime.Stack(buf, false)])
		}()
		_ = pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
			if err := add(ctx, tx, 1, -10); err != nil {
				return err
			}
			explode()
			return nil
		})
	}()
	if !strings.Contains(stack, "pgtx_test.explode") {
		t.Errorf("the stack does not show where the panic came from:\n%s", stack)
	}
	if got := b.balance(t, 1); got != 100 {
		t.Errorf("balance is %d, want 100", got)
	}
	b.released(t)
}

//go:noinline
func explode() { panic("boom") }

func TestRunRollsBackOnGoexit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
			if err := add(ctx, tx, 1, -10); err != nil {
				t.Error(err)
			}
			runtime.Goexit()
			return nil
		})
		t.Error("Run returned after Goexit")
	}()
	<-done
	if got := b.balance(t, 1); got != 100 {
		t.Errorf("balance is %d, want 100", got)
	}
}

func TestRunRollsBackWhenContextEndsInFunction(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		fn   func(ctx context.Context, tx pgx.Tx, cancel func()) error
	}{
		{"between statements, error returned", func(ctx context.Context, _ pgx.Tx, cancel func()) error {
			cancel()
			return ctx.Err()
		}},
		{"between statements, nil returned", func(_ context.Context, _ pgx.Tx, cancel func()) error {
			cancel()
			return nil
		}},
		{"inside a statement", func(ctx context.Context, tx pgx.Tx, cancel func()) error {
			timer := time.AfterFunc(50*time.Millisecond, cancel)
			defer timer.Stop()
			_, err := tx.Exec(ctx, `select pg_sleep(30)`)
			return err
		}},
		{"inside a statement, error swallowed", func(ctx context.Context, tx pgx.Tx, cancel func()) error {
			timer := time.AfterFunc(50*time.Millisecond, cancel)
			defer timer.Stop()
			_, _ = tx.Exec(ctx, `select pg_sleep(30)`)
			return nil
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			calls := 0
			connects := b.pool.Stat().NewConnsCount()
			err := pgtx.Run(ctx, b.pool, func(ctx context.Context, tx pgx.Tx) error {
				calls++
				if err := add(ctx, tx, 1, -10); err != nil {
					return err
				}
				return tt.fn(ctx, tx, cancel)
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error is %v, want context.Canceled", err)
			}
			if calls != 1 {
				t.Errorf("function called %d times, want 1", calls)
			}
			b.released(t)
			if got := b.balance(t, 1); got != 100 {
				t.Errorf("balance is %d, want 100", got)
			}
			if strings.HasPrefix(tt.name, "between") && b.pool.Stat().NewConnsCount() != connects {
				t.Error("the connection was closed, although ROLLBACK could be sent on it")
			}
		})
	}
}

func TestRunWithEndedContextSendsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := pgtx.Run(ctx, b.pool, func(context.Context, pgx.Tx) error {
		t.Error("the function was called")
		return nil
	})
	if !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "begin: ") {
		t.Errorf("error is %v, want begin: context canceled", err)
	}
}
