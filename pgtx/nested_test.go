package pgtx_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtx"
)

// inner is a nested Run that moves the balance of account 2 by 10 and ends with result.
func inner(ctx context.Context, db pgtx.DB, result error) error {
	return pgtx.Run(ctx, db, func(ctx context.Context, tx pgx.Tx) error {
		if err := add(ctx, tx, 2, 10); err != nil {
			return err
		}
		return result
	})
}

func TestNestedRunIsSavepoint(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		outer, inner error
		swallow      bool // the outer function goes on after an inner failure
		one, two     int
	}{
		{name: "both commit", one: 90, two: 110},
		{name: "inner fails, outer goes on", inner: errBusiness, swallow: true, one: 90, two: 100},
		{name: "inner fails, outer too", inner: errBusiness, one: 100, two: 100},
		{name: "inner commits, outer fails", outer: errBusiness, one: 100, two: 100},
	}
	for _, tt := range tests {
		for _, by := range []string{"pool", "tx"} {
			t.Run(tt.name+", by "+by, func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
					if err := add(ctx, tx, 1, -10); err != nil {
						return err
					}
					var db pgtx.DB = b.pool
					if by == "tx" {
						db = tx
					}
					if err := inner(ctx, db, tt.inner); err != tt.inner {
						t.Errorf("inner error is %v, want %v", err, tt.inner)
					} else if err != nil && !tt.swallow {
						return err
					}
					return tt.outer
				})
				want := tt.outer
				if want == nil && !tt.swallow {
					want = tt.inner
				}
				if err != want {
					t.Errorf("error is %v, want %v", err, want)
				}
				if one, two := b.balance(t, 1), b.balance(t, 2); one != tt.one || two != tt.two {
					t.Errorf("balances are %d and %d, want %d and %d", one, two, tt.one, tt.two)
				}
			})
		}
	}
}

func TestNestedPanicUndoesOnlyTheSavepoint(t *testing.T) {
	t.Parallel()
	b := setup(t)
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		if err := add(ctx, tx, 1, -10); err != nil {
			return err
		}
		func() {
			defer func() { _ = recover() }()
			_ = pgtx.Run(ctx, b.pool, func(ctx context.Context, tx pgx.Tx) error {
				if err := add(ctx, tx, 2, 10); err != nil {
					t.Error(err)
				}
				panic("boom")
			})
		}()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if one, two := b.balance(t, 1), b.balance(t, 2); one != 90 || two != 100 {
		t.Errorf("balances are %d and %d, want 90 and 100", one, two)
	}
}

func TestNestedSwallowedErrorUndoesTheSavepoint(t *testing.T) {
	t.Parallel()
	b := setup(t)
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		if err := add(ctx, tx, 1, -10); err != nil {
			return err
		}
		err := pgtx.Run(ctx, b.pool, func(ctx context.Context, tx pgx.Tx) error {
			_, _ = tx.Exec(ctx, `select 1/0`)
			return nil
		})
		var swallowed *pgtx.SwallowedError
		if !errors.As(err, &swallowed) {
			t.Errorf("inner error is %v, want a SwallowedError", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := b.balance(t, 1); got != 90 {
		t.Errorf("balance is %d, want 90", got)
	}
}

func TestNestedContextEndsWithoutTheOuter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		if err := add(ctx, tx, 1, -10); err != nil {
			return err
		}
		short, cancel := context.WithCancel(ctx)
		defer cancel()
		err := pgtx.Run(short, b.pool, func(ctx context.Context, tx pgx.Tx) error {
			if err := add(ctx, tx, 2, 10); err != nil {
				return err
			}
			cancel()
			return ctx.Err()
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("inner error is %v, want context.Canceled", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if one, two := b.balance(t, 1), b.balance(t, 2); one != 90 || two != 100 {
		t.Errorf("balances are %d and %d, want 90 and 100", one, two)
	}
}

func TestNestedOptionConflict(t *testing.T) {
	t.Parallel()
	b := setup(t)
	serializable := pgtx.Options{TxOptions: pgx.TxOptions{IsoLevel: pgx.Serializable}}
	nothing := func(context.Context, pgx.Tx) error { return nil }
	err := pgtx.RunWith(t.Context(), b.pool, serializable, func(ctx context.Context, tx pgx.Tx) error {
		if err := pgtx.RunWith(ctx, b.pool, serializable, nothing); err != nil {
			t.Errorf("the same isolation inside: %v", err)
		}
		readOnly := pgtx.Options{TxOptions: pgx.TxOptions{AccessMode: pgx.ReadOnly}}
		if err := pgtx.RunWith(ctx, b.pool, readOnly, nothing); !errors.Is(err, pgtx.ErrOptionConflict) {
			t.Errorf("read only inside: error is %v, want ErrOptionConflict", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A conflict of the outermost transaction can be met inside one on a second database, which must
// not try to cure it.
func TestConflictIsRepeatedWhereItBelongs(t *testing.T) {
	t.Parallel()
	first, second := setup(t), setup(t)
	outer, middle := 0, 0
	err := pgtx.RunWith(t.Context(), first.pool, repeatableRead, func(ctx context.Context, tx pgx.Tx) error {
		if outer++; outer > 1 {
			return add(ctx, tx, 1, -10)
		}
		return pgtx.Run(ctx, second.pool, func(ctx context.Context, tx pgx.Tx) error {
			middle++
			if err := add(ctx, tx, 1, 1); err != nil {
				return err
			}
			return pgtx.Run(ctx, first.pool, func(ctx context.Context, tx pgx.Tx) error {
				return stale(ctx, first, tx)
			})
		})
	})
	if err != nil || outer != 2 || middle != 1 {
		t.Errorf("error is %v after %d and %d calls, want none after 2 and 1", err, outer, middle)
	}
	if one, two := first.balance(t, 1), second.balance(t, 1); one != 91 || two != 100 {
		t.Errorf("balances are %d and %d, want 91 and 100", one, two)
	}
}
