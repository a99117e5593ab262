package pgmigrate_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// The next instance must not have to wait until the server has noticed the end of the session.
func TestLockIsFreeWhenRunReturns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, three())
	if _, err := m.To(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := m.Redo(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !ask[bool](t, b, "select pg_try_advisory_lock($1)", ternLock) {
			t.Fatal("the lock is still held")
		}
		b.exec(t, "select pg_advisory_unlock_all()")
	}
}

// Status and Plan must be unable to write, whatever they do.
func TestStatusIsReadOnly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, three())
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	var sessions atomic.Int32
	b.config.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		sessions.Add(1)
		results, err := conn.Exec(ctx, "show default_transaction_read_only").ReadAll()
		if err != nil {
			return err
		}
		if got := string(results[0].Rows[0][0]); got != "on" {
			t.Errorf("default_transaction_read_only is %s", got)
		}
		return nil
	}
	m = migrator(t, b, three())
	if _, err := m.Status(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := m.Plan(t.Context()); err != nil {
		t.Error(err)
	}
	if sessions.Load() != 2 {
		t.Errorf("%d sessions, want 2", sessions.Load())
	}
}
