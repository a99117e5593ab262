package pgtx_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgtx"
)

// ROLLBACK TO alone leaves the savepoint open. An open one shows in that it can still be released.
func TestSavepointsAreReleased(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, nested := range map[string]func(ctx context.Context, tx pgx.Tx) error{
		"Run": func(ctx context.Context, tx pgx.Tx) error {
			if err := inner(ctx, tx, errBusiness); err != errBusiness {
				return err
			}
			return nil
		},
		"Begin": func(ctx context.Context, tx pgx.Tx) error {
			savepoint, err := tx.Begin(ctx)
			if err != nil {
				return err
			}
			return savepoint.Rollback(ctx)
		},
	} {
		err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
			if err := nested(ctx, tx); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `release savepoint pgtx_1`)
			return err
		})
		var pgError *pgconn.PgError
		if !errors.As(err, &pgError) || pgError.Code != "3B001" {
			t.Errorf("%s: error is %v, want SQLSTATE 3B001: no such savepoint", name, err)
		}
	}
}

func TestRunOnForeignTransaction(t *testing.T) {
	t.Parallel()
	b := setup(t)
	outer, err := b.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer outer.Rollback(t.Context())
	if err := inner(t.Context(), outer, nil); err != nil {
		t.Fatal(err)
	}
	if err := inner(t.Context(), outer, errBusiness); err != errBusiness {
		t.Fatalf("error is %v, want the function's own", err)
	}
	if got := b.balance(t, 2); got != 100 {
		t.Errorf("balance is %d before the owner's commit, want 100", got)
	}
	if err := outer.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.balance(t, 2); got != 110 {
		t.Errorf("balance is %d, want 110", got)
	}
}

func TestRunOnSavepointOfBegin(t *testing.T) {
	t.Parallel()
	b := setup(t)
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		savepoint, err := tx.Begin(ctx)
		if err != nil {
			return err
		}
		for _, ctx := range []context.Context{ctx, t.Context()} {
			if err := inner(ctx, savepoint, nil); err != nil {
				return err
			}
		}
		if err := savepoint.Commit(ctx); err != nil {
			return err
		}
		if err := inner(ctx, savepoint, nil); !errors.Is(err, pgx.ErrTxClosed) {
			t.Errorf("error is %v, want ErrTxClosed: the savepoint was released", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := b.balance(t, 2); got != 120 {
		t.Errorf("balance is %d, want 120", got)
	}
}

func TestSavepointInFailedTransactionNamesTheCause(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_ = pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		_, _ = tx.Exec(ctx, `select 1/0`)
		err := inner(ctx, b.pool, nil)
		if err == nil || !strings.Contains(err.Error(), "22012") {
			t.Errorf("error is %v, want the division by zero named", err)
		}
		return err
	})
}
