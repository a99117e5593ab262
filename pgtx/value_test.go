package pgtx_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtx"
)

func TestValue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	read := func(ctx context.Context, tx pgx.Tx) (n int, err error) {
		err = tx.QueryRow(ctx, `select balance from accounts where id = 1`).Scan(&n)
		return n, err
	}
	if got, err := pgtx.Value(t.Context(), b.pool, read); err != nil || got != 100 {
		t.Errorf("Value returned %d, %v, want 100", got, err)
	}
	opts := pgtx.Options{TxOptions: pgx.TxOptions{AccessMode: pgx.ReadOnly}}
	if got, err := pgtx.ValueWith(t.Context(), b.pool, opts, read); err != nil || got != 100 {
		t.Errorf("ValueWith returned %d, %v, want 100", got, err)
	}
	got, err := pgtx.Value(t.Context(), b.pool, func(context.Context, pgx.Tx) (int, error) { return 7, errBusiness })
	if got != 0 || err != errBusiness {
		t.Errorf("Value returned %d, %v, want 0 and the error", got, err)
	}
}
