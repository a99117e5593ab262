package pgtx_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtx"
)

// kill terminates the backend of tx from outside.
func kill(ctx context.Context, b *bundle, tx pgx.Tx) error {
	pid := tx.Conn().PgConn().PID()
	_, err := b.pool.Exec(ctx, `select pg_terminate_backend($1::int, 5000)`, pid)
	return err
}

func TestConnectionLostBeforeCommitIsRetried(t *testing.T) {
	needsSession(t)
	t.Parallel()
	for name, after := range map[string]func(ctx context.Context, tx pgx.Tx) error{
		"a statement follows": func(ctx context.Context, tx pgx.Tx) error { return add(ctx, tx, 2, 10) },
		"its error is swallowed": func(ctx context.Context, tx pgx.Tx) error {
			_ = add(ctx, tx, 2, 10)
			return nil
		},
		"a nested Run follows": func(ctx context.Context, tx pgx.Tx) error { return inner(ctx, tx, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			attempts := 0
			err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
				attempts++
				if err := add(ctx, tx, 1, -10); err != nil {
					return err
				}
				if attempts == 1 {
					if err := kill(ctx, b, tx); err != nil {
						t.Error(err)
					}
					return after(ctx, tx)
				}
				return add(ctx, tx, 2, 10)
			})
			if err != nil {
				t.Fatal(err)
			}
			if attempts != 2 {
				t.Errorf("%d attempts, want 2", attempts)
			}
			if one, two := b.balance(t, 1), b.balance(t, 2); one != 90 || two != 110 {
				t.Errorf("balances are %d and %d, want 90 and 110", one, two)
			}
		})
	}
}

// A stale connection in the pool shows at BEGIN, before anything has run.
func TestStaleConnectionIsReplaced(t *testing.T) {
	needsSession(t)
	t.Parallel()
	b := setup(t)
	conn, err := b.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pid := conn.Conn().PgConn().PID()
	conn.Release()
	admin := connect(t, b.url)
	if _, err := admin.Exec(t.Context(), `select pg_terminate_backend($1::int, 5000)`, pid); err != nil {
		t.Fatal(err)
	}
	if err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		return add(ctx, tx, 1, -10)
	}); err != nil {
		t.Fatal(err)
	}
	if got := b.balance(t, 1); got != 90 {
		t.Errorf("balance is %d, want 90", got)
	}
}

// A single connection that is closed stays closed: another attempt would only wait.
func TestClosedConnectionIsNotRetried(t *testing.T) {
	t.Parallel()
	b := setup(t)
	conn, err := pgx.Connect(t.Context(), b.url)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = pgtx.Run(t.Context(), conn, func(context.Context, pgx.Tx) error { return nil })
	var exhausted *pgtx.RetryError
	if err == nil || errors.As(err, &exhausted) {
		t.Errorf("error is %v, want one from a single attempt", err)
	}
}
