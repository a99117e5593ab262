package pgtx_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtx"
)

func TestNestedRunUsesOneConnection(t *testing.T) {
	t.Parallel()
	b := setup(t)
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		return pgtx.Run(ctx, b.pool, func(ctx context.Context, _ pgx.Tx) error {
			return pgtx.Run(ctx, b.pool, func(ctx context.Context, deep pgx.Tx) error {
				if n := b.pool.Stat().AcquiredConns(); n != 1 {
					t.Errorf("%d connections in use, want 1", n)
				}
				if got, ok := pgtx.From(ctx, b.pool); !ok || got != deep {
					t.Errorf("From the pool is %v, %v, want the innermost transaction", got, ok)
				}
				if got, ok := pgtx.From(ctx, tx); !ok || got != deep {
					t.Errorf("From the outer handle is %v, %v, want the innermost transaction", got, ok)
				}
				return nil
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := pgtx.From(t.Context(), b.pool); ok {
		t.Error("From finds a transaction outside of any")
	}
}

func TestRunOnSecondDatabaseIsItsOwnTransaction(t *testing.T) {
	t.Parallel()
	first, second := setup(t), setup(t)
	err := pgtx.Run(t.Context(), first.pool, func(ctx context.Context, tx pgx.Tx) error {
		if err := add(ctx, tx, 1, -10); err != nil {
			return err
		}
		err := pgtx.Run(ctx, second.pool, func(ctx context.Context, tx pgx.Tx) error {
			// Through the second, the first is still found: this is a savepoint of it.
			if err := inner(ctx, first.pool, nil); err != nil {
				return err
			}
			return add(ctx, tx, 1, 10)
		})
		if err != nil {
			return err
		}
		return errBusiness
	})
	if err != errBusiness {
		t.Fatalf("error is %v, want the function's own", err)
	}
	if one, two := first.balance(t, 1), first.balance(t, 2); one != 100 || two != 100 {
		t.Errorf("first database holds %d and %d, want 100 and 100: rolled back", one, two)
	}
	if got := second.balance(t, 1); got != 110 {
		t.Errorf("second database holds %d, want 110: committed by itself", got)
	}
}
