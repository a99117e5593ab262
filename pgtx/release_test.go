package pgtx_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"github.com/page-builder/persistence/pgtx"
)

// RELEASE is sent when the nested Run ends, in order with savepoints that the function handles
// itself.
func TestReleaseStaysInOrderWithOwnSavepoints(t *testing.T) {
	t.Parallel()
	tests := map[string]func(ctx context.Context, tx pgx.Tx, step func(string), nested func()){
		"set inside": func(_ context.Context, _ pgx.Tx, step func(string), nested func()) {
			nested()
			step(`savepoint own`)
			nested()
			step(`rollback to own`)
		},
		"released around": func(_ context.Context, _ pgx.Tx, step func(string), nested func()) {
			step(`savepoint own`)
			nested()
			step(`release own`)
			nested()
		},
		"rolled back around": func(_ context.Context, _ pgx.Tx, step func(string), nested func()) {
			step(`savepoint own`)
			nested()
			step(`rollback to own`)
			nested()
		},
		"on Conn": func(ctx context.Context, tx pgx.Tx, _ func(string), nested func()) {
			nested()
			_, _ = tx.Conn().Exec(ctx, `savepoint own`)
			nested()
			_, _ = tx.Conn().Exec(ctx, `rollback to own`)
		},
	}
	wants := map[string]int{"set inside": 101, "released around": 102, "rolled back around": 101, "on Conn": 101}
	for name, program := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
				program(ctx, tx, func(sql string) {
					if _, err := tx.Exec(ctx, sql); err != nil {
						t.Errorf("%s: %v", sql, err)
					}
				}, func() {
					err := pgtx.Run(ctx, b.pool, func(ctx context.Context, tx pgx.Tx) error {
						return add(ctx, tx, 1, 1)
					})
					if err != nil {
						t.Errorf("nested: %v", err)
					}
				})
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := b.balance(t, 1); got != wants[name] {
				t.Errorf("balance is %d, want %d", got, wants[name])
			}
		})
	}
}

// A row that is locked before a nested Run and updated after it makes no multixact, as with pgx:
// after RELEASE both have the same transaction id again.
func TestNestedRunsMakeNoMultixacts(t *testing.T) {
	t.Parallel()
	server := fault.NewServer(t, fault.ServerOptions{}) // the counter belongs to the whole server
	b := setupOn(t, server.URL())
	next := func() (id int64) {
		t.Helper()
		b.exec(t, `checkpoint`)
		if err := b.pool.QueryRow(t.Context(), `select next_multixact_id::text::bigint from pg_control_checkpoint()`).Scan(&id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	before := next()
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		for range 200 {
			_, err := tx.Exec(ctx, `select from accounts where id = 1 for share`)
			err = errors.Join(err, pgtx.Run(ctx, tx, func(ctx context.Context, tx pgx.Tx) error {
				return add(ctx, tx, 2, 1)
			}))
			if err = errors.Join(err, add(ctx, tx, 1, 1)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || b.balance(t, 1) != 300 {
		t.Fatal(err)
	}
	if made := next() - before; made != 0 {
		t.Errorf("made %d multixacts, want none", made)
	}
}
