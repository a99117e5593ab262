package pgtx_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgtx"
)

// stale reads account 1 in a repeatable read snapshot, lets somebody else write it, and writes it:
// 40001.
func stale(ctx context.Context, b *bundle, tx pgx.Tx) error {
	var balance int
	if err := tx.QueryRow(ctx, `select balance from accounts where id = 1`).Scan(&balance); err != nil {
		return err
	}
	if _, err := b.pool.Exec(ctx, `update accounts set balance = balance + 1 where id = 1`); err != nil {
		return err
	}
	return add(ctx, tx, 1, -10)
}

var repeatableRead = pgtx.Options{TxOptions: pgx.TxOptions{IsoLevel: pgx.RepeatableRead}}

func TestSerializationFailureIsRetried(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		// first is what the first attempt does; it meets a serialization failure.
		first func(ctx context.Context, b *bundle, tx pgx.Tx) error
	}{
		{"returned", stale},
		{"wrapped", func(ctx context.Context, b *bundle, tx pgx.Tx) error {
			return fmt.Errorf("transfer: %w", stale(ctx, b, tx))
		}},
		{"swallowed", func(ctx context.Context, b *bundle, tx pgx.Tx) error {
			_ = stale(ctx, b, tx)
			return nil
		}},
		{"nested", func(ctx context.Context, b *bundle, tx pgx.Tx) error {
			return pgtx.Run(ctx, b.pool, func(ctx context.Context, tx pgx.Tx) error { return stale(ctx, b, tx) })
		}},
		{"nested and ignored", func(ctx context.Context, b *bundle, tx pgx.Tx) error {
			_ = pgtx.Run(ctx, b.pool, func(ctx context.Context, tx pgx.Tx) error { return stale(ctx, b, tx) })
			return nil
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			attempts := 0
			err := pgtx.RunWith(t.Context(), b.pool, repeatableRead, func(ctx context.Context, tx pgx.Tx) error {
				attempts++
				if attempts == 1 {
					return tt.first(ctx, b, tx)
				}
				return add(ctx, tx, 1, -10)
			})
			if err != nil {
				t.Fatal(err)
			}
			if attempts != 2 {
				t.Errorf("%d attempts, want 2", attempts)
			}
			if got := b.balance(t, 1); got != 91 {
				t.Errorf("balance is %d, want 91: one concurrent +1, one -10", got)
			}
		})
	}
}

func TestDeadlockIsRetried(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var meet sync.WaitGroup // both hold their first row before either asks for its second
	meet.Add(2)
	var mu sync.Mutex
	attempts := 0
	move := func(from, to int) error {
		first := true
		return pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
			mu.Lock()
			attempts++
			mu.Unlock()
			if err := add(ctx, tx, from, -10); err != nil {
				return err
			}
			if first {
				first = false
				meet.Done()
				meet.Wait()
			}
			return add(ctx, tx, to, 10)
		})
	}
	errs := make(chan error, 2)
	go func() { errs <- move(1, 2) }()
	go func() { errs <- move(2, 1) }()
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	// More if both were the victim, or if the repetition took its first row before the other had
	// woken up.
	if attempts < 3 {
		t.Errorf("%d attempts, want at least 3: one of two was the victim", attempts)
	}
	if one, two := b.balance(t, 1), b.balance(t, 2); one != 100 || two != 100 {
		t.Errorf("balances are %d and %d, want 100 and 100", one, two)
	}
}

func TestAttemptsAreLimited(t *testing.T) {
	t.Parallel()
	tests := []struct {
		max, want int
	}{
		{0, 5},
		{3, 3},
		{1, 1},
		{-1, 1},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.max), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			opts := repeatableRead
			opts.MaxAttempts = tt.max
			attempts := 0
			err := pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
				attempts++
				return stale(ctx, b, tx)
			})
			if attempts != tt.want {
				t.Errorf("%d attempts, want %d", attempts, tt.want)
			}
			var pgError *pgconn.PgError
			if !errors.As(err, &pgError) || pgError.Code != "40001" {
				t.Errorf("error is %v, want the database's own in its chain", err)
			}
			var exhausted *pgtx.RetryError
			if got := errors.As(err, &exhausted); got != (tt.want > 1) {
				t.Errorf("error is %v; a RetryError: %v", err, got)
			}
			if exhausted != nil && exhausted.Attempts != tt.want {
				t.Errorf("the error counts %d attempts, want %d", exhausted.Attempts, tt.want)
			}
		})
	}
}

func TestContextThatEndsInLaterAttempt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	attempts := 0
	err := pgtx.RunWith(ctx, b.pool, repeatableRead, func(ctx context.Context, tx pgx.Tx) error {
		if attempts++; attempts == 1 {
			return stale(ctx, b, tx)
		}
		cancel()
		return ctx.Err()
	})
	var pgError *pgconn.PgError
	var exhausted *pgtx.RetryError
	if !errors.As(err, &exhausted) || exhausted.Attempts != 2 || !errors.Is(err, context.Canceled) ||
		!errors.As(err, &pgError) {
		t.Errorf("error is %v, want a RetryError after 2 attempts with the cancellation and the database's last error", err)
	}
}

func TestContextThatEndsBetweenAttempts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	opts := repeatableRead
	opts.RetryIf = func(error, bool) bool { cancel(); return true } // the attempt is over, the wait has not begun
	err := pgtx.RunWith(ctx, b.pool, opts, func(ctx context.Context, tx pgx.Tx) error { return stale(ctx, b, tx) })
	var pgError *pgconn.PgError
	var exhausted *pgtx.RetryError
	if !errors.As(err, &pgError) || pgError.Code != "40001" || !errors.Is(err, context.Canceled) ||
		!errors.As(err, &exhausted) {
		t.Errorf("error is %v, want a RetryError with the cancellation and the last error of the database", err)
	}
}

// A second database inside has had its own attempts: the first does not multiply them.
func TestExhaustedSecondDatabaseIsNotRetriedByTheFirst(t *testing.T) {
	t.Parallel()
	first, second := setup(t), setup(t)
	opts := repeatableRead
	opts.MaxAttempts = 2
	attempts := 0
	err := pgtx.Run(t.Context(), first.pool, func(ctx context.Context, tx pgx.Tx) error {
		attempts++
		return pgtx.RunWith(ctx, second.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
			return stale(ctx, second, tx)
		})
	})
	var exhausted *pgtx.RetryError
	if !errors.As(err, &exhausted) || exhausted.Attempts != 2 {
		t.Errorf("error is %v, want the second database's RetryError", err)
	}
	if attempts != 1 {
		t.Errorf("the first was run %d times, want 1", attempts)
	}
}

// fn may talk to other systems; their network errors are no reason to repeat the transaction.
func TestForeignNetworkErrorIsNotRetried(t *testing.T) {
	t.Parallel()
	b := setup(t)
	attempts := 0
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		attempts++
		return fmt.Errorf("call the mail service: %w", pgconn.ErrConnClosed)
	})
	if attempts != 1 || !errors.Is(err, pgconn.ErrConnClosed) {
		t.Errorf("%d attempts, error %v; want 1 and the function's own", attempts, err)
	}
}
