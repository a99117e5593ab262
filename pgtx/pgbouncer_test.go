package pgtx_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"github.com/page-builder/persistence/pgtx"
)

// The mode that caches prepared statements fails behind PgBouncer in transaction mode for pgx as
// well.
func TestPgBouncer(t *testing.T) {
	needsSession(t)
	t.Parallel()
	b := setup(t)
	bouncer := fault.NewPgBouncer(t, b.url, nil)
	for _, mode := range execModes[1:] {
		for name, opts := range map[string]pgtx.Options{
			"lazy": {}, "eager": {Eager: true}, "below a deadline": {StatementTimeout: time.Hour, Timeout: time.Minute}, "verified": verified,
		} {
			t.Run(mode.String()+", "+name, func(t *testing.T) {
				t.Parallel()
				config, err := pgxpool.ParseConfig(bouncer.URL())
				if err != nil {
					t.Fatal("cannot parse PgBouncer's URL")
				}
				config.MaxConns = 4
				config.ConnConfig.DefaultQueryExecMode = mode
				pool, err := pgxpool.NewWithConfig(t.Context(), config)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(pool.Close)
				for range 20 {
					err := pgtx.RunWith(t.Context(), pool, opts, func(ctx context.Context, tx pgx.Tx) error {
						if err := add(ctx, tx, 1, 1); err != nil {
							return err
						}
						if err := inner(ctx, pool, errBusiness); !errors.Is(err, errBusiness) {
							t.Errorf("inner error is %v", err)
						}
						return add(ctx, tx, 1, -1)
					})
					if err != nil {
						t.Fatal(err)
					}
					if err := pgtx.Atomic(t.Context(), pool, opts, moves()); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
	t.Cleanup(func() {
		if one, two := b.balance(t, 1), b.balance(t, 2); one != 100-16*200 || two != 100+16*200 {
			t.Errorf("balances are %d and %d", one, two)
		}
	})
}
