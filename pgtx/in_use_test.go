package pgtx_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgtx"
)

func TestUseWithOpenRows(t *testing.T) {
	t.Parallel()
	b := setup(t)
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		row := tx.QueryRow(ctx, `select 1`)
		if err := row.Scan(new(int)); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `select id from accounts`)
		if err != nil {
			return err
		}
		_ = row.Scan(new(int)) // a second time, which must not give away what the rows hold
		if err := add(ctx, tx, 1, 1); !errors.Is(err, pgtx.ErrTxInUse) {
			t.Errorf("statement beside open rows: %v, want ErrTxInUse", err)
		}
		if err := inner(ctx, b.pool, nil); !errors.Is(err, pgtx.ErrTxInUse) {
			t.Errorf("nested Run beside open rows: %v, want ErrTxInUse", err)
		}
		rows.Close()
		return add(ctx, tx, 1, -10)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := b.balance(t, 1); got != 90 {
		t.Errorf("balance is %d, want 90", got)
	}
}

func TestReturnWithOpenRows(t *testing.T) {
	t.Parallel()
	open := func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Query(ctx, `select id from accounts`)
		return err
	}
	for name, fn := range map[string]func(pool *pgxpool.Pool) func(context.Context, pgx.Tx) error{
		"outermost": func(*pgxpool.Pool) func(context.Context, pgx.Tx) error {
			return func(ctx context.Context, tx pgx.Tx) error {
				if err := add(ctx, tx, 1, -10); err != nil {
					return err
				}
				return open(ctx, tx)
			}
		},
		"nested, ignored": func(pool *pgxpool.Pool) func(context.Context, pgx.Tx) error {
			return func(ctx context.Context, tx pgx.Tx) error {
				if err := add(ctx, tx, 1, -10); err != nil {
					return err
				}
				if err := pgtx.Run(ctx, pool, open); !errors.Is(err, pgtx.ErrTxInUse) {
					t.Errorf("nested error is %v, want ErrTxInUse", err)
				}
				return nil
			}
		},
		"nested, closed by the outer": func(pool *pgxpool.Pool) func(context.Context, pgx.Tx) error {
			return func(ctx context.Context, tx pgx.Tx) error {
				if err := add(ctx, tx, 1, -10); err != nil {
					return err
				}
				var rows pgx.Rows
				_ = pgtx.Run(ctx, pool, func(ctx context.Context, tx pgx.Tx) (err error) {
					rows, err = tx.Query(ctx, `select id from accounts`)
					return err
				})
				rows.Close()
				return nil
			}
		},
		"on the bare connection": func(*pgxpool.Pool) func(context.Context, pgx.Tx) error {
			return func(ctx context.Context, tx pgx.Tx) error {
				if err := add(ctx, tx, 1, -10); err != nil {
					return err
				}
				_, err := tx.Conn().Query(ctx, `select id from accounts`)
				return err
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			if err := pgtx.Run(t.Context(), b.pool, fn(b.pool)); !errors.Is(err, pgtx.ErrTxInUse) {
				t.Errorf("error is %v, want ErrTxInUse", err)
			}
			if got := b.balance(t, 1); got != 100 {
				t.Errorf("balance is %d, want 100", got)
			}
		})
	}
}

func TestReturnWhileGoroutineIsInStatement(t *testing.T) {
	t.Parallel()
	b := setup(t)
	statement := make(chan error, 1)
	var returned time.Time
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		if err := add(ctx, tx, 1, -10); err != nil {
			return err
		}
		go func() {
			for {
				_, err := tx.Exec(ctx, `select pg_sleep(60)`)
				if !errors.Is(err, pgtx.ErrTxInUse) { // that was the loop below
					statement <- err
					return
				}
			}
		}()
		// Wait until the goroutine is in the statement: then the handle is in use. What asks is
		// refused without a word to the server, or it would itself be in the handle nearly always,
		// and on a busy machine the goroutine never.
		beginning := &pgx.Batch{}
		beginning.BeginTx(pgx.TxOptions{})
		for !errors.Is(tx.SendBatch(ctx, beginning).Close(), pgtx.ErrTxInUse) {
			time.Sleep(time.Millisecond)
		}
		returned = time.Now()
		return nil
	})
	if !errors.Is(err, pgtx.ErrTxInUse) {
		t.Errorf("error is %v, want ErrTxInUse", err)
	}
	if took := time.Since(returned); took > 4500*time.Millisecond { // without the interruption it is 5 s and more
		t.Errorf("took %s: the statement was waited for instead of interrupted", took)
	}
	if err := <-statement; err == nil {
		t.Error("the statement in the goroutine went well")
	}
	if got := b.balance(t, 1); got != 100 {
		t.Errorf("balance is %d, want 100", got)
	}
}

func TestNestedRunsSideBySide(t *testing.T) {
	t.Parallel()
	b := setup(t)
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, _ pgx.Tx) error {
		return pgtx.Run(ctx, b.pool, func(context.Context, pgx.Tx) error {
			done := make(chan error)
			go func() { done <- inner(ctx, b.pool, nil) }() // the outer ctx, while a nested function runs
			if err := <-done; !errors.Is(err, pgtx.ErrTxInUse) {
				t.Errorf("error is %v, want ErrTxInUse", err)
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}
