package pgtx_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtx"
)

func TestRunOnSingleConnections(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pooled, err := b.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer pooled.Release()
	for name, db := range map[string]pgtx.DB{"*pgxpool.Conn": pooled, "*pgx.Conn": pooled.Conn()} {
		before := b.balance(t, 1)
		if err := pgtx.Run(t.Context(), db, func(ctx context.Context, tx pgx.Tx) error {
			return pgtx.Run(ctx, db, func(ctx context.Context, tx pgx.Tx) error { return add(ctx, tx, 1, 1) })
		}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := b.balance(t, 1); got != before+1 {
			t.Errorf("%s: balance is %d, want %d", name, got, before+1)
		}
	}
}

func TestRunRefusesConnectionInTransaction(t *testing.T) {
	t.Parallel()
	b := setup(t)
	conn, err := b.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	outer, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = pgtx.Run(t.Context(), conn, func(ctx context.Context, tx pgx.Tx) error { return add(ctx, tx, 1, 1) })
	if err == nil || !strings.Contains(err.Error(), "already in a transaction") {
		t.Errorf("error is %v, want one that says the connection is in a transaction", err)
	}
	if err := outer.Rollback(t.Context()); err != nil {
		t.Errorf("the outer transaction was disturbed: %v", err)
	}
}
