package pgtx_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtx"
)

// A ctx and a handle that escape to goroutines meet errors with a name, never a data race, while
// the function runs, when it returns and afterwards; and what the goroutines do is part of the
// transaction or does not happen. The race detector is what this test is for.
func TestEscapeToGoroutines(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]pgtx.Options{"lazy": {MaxAttempts: 1}, "eager": {MaxAttempts: 1, Eager: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			calls := map[string]func(ctx context.Context, tx pgx.Tx) error{
				"Exec":      func(ctx context.Context, tx pgx.Tx) error { return add(ctx, tx, 1, 1) },
				"QueryRow":  func(ctx context.Context, tx pgx.Tx) error { return tx.QueryRow(ctx, `select 1`).Scan(new(int)) },
				"SendBatch": func(ctx context.Context, tx pgx.Tx) error { return tx.SendBatch(ctx, moves()).Close() },
				"Querier": func(ctx context.Context, _ pgx.Tx) error {
					_, err := pgtx.Querier(ctx, b.pool).Exec(ctx, `update accounts set balance = balance + 1 where id = 1`)
					return err
				},
				"Run": func(ctx context.Context, _ pgx.Tx) error { return inner(ctx, b.pool, nil) },
				"Joined": func(ctx context.Context, tx pgx.Tx) error {
					return pgtx.RunWith(ctx, tx, pgtx.Options{Nesting: pgtx.Join}, addOne)
				},
				"Atomic": func(ctx context.Context, _ pgx.Tx) error { return pgtx.Atomic(ctx, b.pool, pgtx.Options{}, moves()) },
				"hook": func(ctx context.Context, _ pgx.Tx) error {
					return pgtx.AfterRollback(ctx, b.pool, func(context.Context) error { return nil })
				},
			}
			var started, done sync.WaitGroup
			err := pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
				for name, call := range calls {
					started.Add(1)
					done.Go(func() {
						err := call(ctx, tx)
						started.Done()
						for ; !errors.Is(err, pgtx.ErrTxClosed); err = call(ctx, tx) {
							var lost interface{ SafeToRetry() bool } // the connection was taken away under a statement
							if err != nil && !errors.Is(err, pgtx.ErrTxInUse) && tx.Conn() != nil && !tx.Conn().IsClosed() && !errors.As(err, &lost) {
								t.Errorf("%s: %v, want ErrTxInUse or ErrTxClosed", name, err)
							}
						}
					})
				}
				started.Wait()
				return errBusiness // whatever they did is undone
			})
			done.Wait()
			if err != errBusiness {
				t.Errorf("error is %v, want the function's own", err)
			}
			if got := b.balance(t, 1); got != 100 {
				t.Errorf("balance is %d, want 100: something was written outside the transaction", got)
			}
		})
	}
}

func addOne(ctx context.Context, tx pgx.Tx) error { return add(ctx, tx, 1, 1) }
