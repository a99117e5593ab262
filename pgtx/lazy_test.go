package pgtx_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgtx"
)

func TestFlushes(t *testing.T) {
	t.Parallel()
	update := func(ctx context.Context, tx pgx.Tx) error { return add(ctx, tx, 1, 1) }
	fiveNested := func(pool *pgxpool.Pool) func(context.Context, pgx.Tx) error {
		return func(ctx context.Context, _ pgx.Tx) error {
			for range 5 {
				if err := pgtx.Run(ctx, pool, update); err != nil {
					return err
				}
			}
			return nil
		}
	}
	tests := []struct {
		name  string
		opts  pgtx.Options
		fn    func(*pgxpool.Pool) func(context.Context, pgx.Tx) error
		wants int64
	}{
		{"one statement", pgtx.Options{}, func(*pgxpool.Pool) func(context.Context, pgx.Tx) error { return update }, 2},
		{"one statement, eager", pgtx.Options{Eager: true}, func(*pgxpool.Pool) func(context.Context, pgx.Tx) error {
			return update
		}, 3},
		{"five nested", pgtx.Options{}, fiveNested, 16},
		{"five nested, eager", pgtx.Options{Eager: true}, fiveNested, 17},
		{"empty", pgtx.Options{}, func(*pgxpool.Pool) func(context.Context, pgx.Tx) error {
			return func(context.Context, pgx.Tx) error { return nil }
		}, 0},
		{"fails without a statement", pgtx.Options{}, func(*pgxpool.Pool) func(context.Context, pgx.Tx) error {
			return func(context.Context, pgx.Tx) error { return errBusiness }
		}, 0},
	}
	for _, mode := range execModes {
		if mode == pgx.QueryExecModeDescribeExec {
			continue // describes every time, which is not ours to count
		}
		for _, tt := range tests {
			t.Run(mode.String()+", "+tt.name, func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				pool, flushes := countFlushes(t, b.url, mode)
				fn := tt.fn(pool)
				for range 2 { // the first fills the caches
					flushes.Store(0)
					if err := pgtx.RunWith(t.Context(), pool, tt.opts, fn); err != nil && !errors.Is(err, errBusiness) {
						t.Fatal(err)
					}
				}
				wants := tt.wants
				if tt.name == "one statement" && mode == pgx.QueryExecModeSimpleProtocol {
					wants = 3 // pgx does not export how it quotes arguments
				}
				if got := flushes.Load(); got != wants {
					t.Errorf("took %d flushes, want %d", got, wants)
				}
			})
		}
	}
}

// taken returns a pool of one connection, and takes that for the length of the test.
func taken(t *testing.T, b *bundle) *pgxpool.Pool {
	t.Helper()
	pool, _ := countFlushes(t, b.url, pgx.QueryExecModeCacheStatement)
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Release) // runs before the pool is closed
	return pool
}

func TestLazyTakesNoConnectionBeforeTheFirstStatement(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pool := taken(t, b)
	if err := pgtx.Run(t.Context(), pool, func(context.Context, pgx.Tx) error { return nil }); err != nil {
		t.Errorf("empty transaction: %v", err)
	}
}

func TestLazyBeginFails(t *testing.T) {
	t.Parallel()
	calls := map[string]func(context.Context, pgx.Tx) error{
		"Exec":     func(ctx context.Context, tx pgx.Tx) error { return add(ctx, tx, 1, 1) },
		"no args":  func(ctx context.Context, tx pgx.Tx) error { _, err := tx.Exec(ctx, "select 1"); return err },
		"Query":    func(ctx context.Context, tx pgx.Tx) error { _, err := tx.Query(ctx, "select 1"); return err },
		"QueryRow": func(ctx context.Context, tx pgx.Tx) error { return tx.QueryRow(ctx, "select 1").Scan(new(int)) },
		"Batch":    func(ctx context.Context, tx pgx.Tx) error { return tx.SendBatch(ctx, moves()).Close() },
		"Begin":    func(ctx context.Context, tx pgx.Tx) error { _, err := tx.Begin(ctx); return err },
		"Prepare":  func(ctx context.Context, tx pgx.Tx) error { _, err := tx.Prepare(ctx, "a", "select 1"); return err },
		"CopyFrom": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.CopyFrom(ctx, pgx.Identifier{"accounts"}, []string{"id"}, pgx.CopyFromRows(nil))
			return err
		},
		"LargeObjects": func(ctx context.Context, tx pgx.Tx) error {
			objects := tx.LargeObjects()
			if _, err := objects.Create(ctx, 0); !errors.Is(err, pgx.ErrTxClosed) {
				return fmt.Errorf("create: %w", err)
			}
			return add(ctx, tx, 1, 1)
		},
		"Conn": func(ctx context.Context, tx pgx.Tx) error {
			if _, err := tx.Conn().Exec(ctx, "select 1"); !tx.Conn().IsClosed() || err == nil {
				return fmt.Errorf("the connection is open, and its error is %w", err)
			}
			return add(ctx, tx, 1, 1)
		},
	}
	for name, call := range calls {
		for _, swallow := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, swallowed %v", name, swallow), func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				pool := taken(t, b)
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				err := pgtx.Run(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
					err := call(ctx, tx)
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("call: %v, want the end of ctx", err)
					}
					_, again := tx.Exec(context.WithoutCancel(ctx), "select 1")
					if !errors.Is(again, context.DeadlineExceeded) {
						t.Errorf("a later statement: %v, want what the first failed with", again)
					}
					if swallow {
						return nil
					}
					return err
				})
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error is %v, want the end of ctx", err)
				}
			})
		}
	}
}

func TestLazyEncodeErrorLeavesTheTransactionInOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		for range 3 {
			if _, err := tx.Exec(ctx, `select $1::int`, make(chan int)); err == nil {
				t.Error("a channel was encoded")
			}
		}
		return add(ctx, tx, 1, -10)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := b.balance(t, 1); got != 90 {
		t.Errorf("balance is %d, want 90", got)
	}
}

// A second goroutine that waits for a connection when the function returns must not get one.
func TestLazyAcquireIsInterrupted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pool := taken(t, b)
	done := make(chan error, 1)
	beginning := &pgx.Batch{}
	beginning.BeginTx(pgx.TxOptions{})
	began := time.Now()
	err := pgtx.Run(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
		go func() { done <- add(context.WithoutCancel(ctx), tx, 1, 1) }()
		// It is refused without a connection until then.
		for !errors.Is(tx.SendBatch(ctx, beginning).Close(), pgtx.ErrTxInUse) {
			time.Sleep(time.Millisecond)
		}
		return nil
	})
	if !errors.Is(err, pgtx.ErrTxInUse) {
		t.Errorf("error is %v, want ErrTxInUse", err)
	}
	if err := <-done; err == nil {
		t.Error("the statement succeeded")
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("took %v", took)
	}
}

// The connection breaks under the flush that carries BEGIN: nothing is committed, so the function
// runs again.
func TestLazyRepeatsAfterTheFirstFlushBreaks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	calls := 0
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		if calls++; calls == 1 {
			_, err := tx.Exec(ctx, `select pg_terminate_backend(pg_backend_pid()), $1::int`, 1)
			return err
		}
		return add(ctx, tx, 1, -10)
	})
	if err != nil || calls != 2 {
		t.Errorf("after %d calls: %v", calls, err)
	}
	if got := b.balance(t, 1); got != 90 {
		t.Errorf("balance is %d, want 90", got)
	}
}
