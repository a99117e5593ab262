package pgtx_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgtx"
)

func TestRunReportsSwallowedError(t *testing.T) {
	t.Parallel()
	failing := map[string]func(ctx context.Context, tx pgx.Tx){
		"Exec": func(ctx context.Context, tx pgx.Tx) { _, _ = tx.Exec(ctx, `select 1/0`) },
		"Query": func(ctx context.Context, tx pgx.Tx) {
			rows, _ := tx.Query(ctx, `select 1/$1::int`, 0)
			for rows.Next() {
			}
		},
		"Query closed at once": func(ctx context.Context, tx pgx.Tx) {
			rows, _ := tx.Query(ctx, `select 1/$1::int`, 0)
			rows.Close()
		},
		"QueryRow": func(ctx context.Context, tx pgx.Tx) {
			var n int
			_ = tx.QueryRow(ctx, `select 1/$1::int`, 0).Scan(&n)
		},
		"SendBatch": func(ctx context.Context, tx pgx.Tx) {
			batch := &pgx.Batch{}
			batch.Queue(`select 1/$1::int`, 0)
			_ = tx.SendBatch(ctx, batch).Close()
		},
		"SendBatch, read one by one": func(ctx context.Context, tx pgx.Tx) {
			batch := &pgx.Batch{}
			batch.Queue(`select 1`)
			batch.Queue(`select 1/$1::int`, 0)
			results := tx.SendBatch(ctx, batch)
			_, _ = results.Exec()
			var n int
			_ = results.QueryRow().Scan(&n)
			_ = results.Close()
		},
		"CopyFrom": func(ctx context.Context, tx pgx.Tx) {
			_, _ = tx.CopyFrom(ctx, pgx.Identifier{"accounts"}, []string{"id", "balance"},
				pgx.CopyFromRows([][]any{{3, nil}}))
		},
	}
	for name, fail := range failing {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
				if err := add(ctx, tx, 1, -10); err != nil {
					return err
				}
				fail(ctx, tx)
				_, _ = tx.Exec(ctx, `select 1`) // 25P02, which must not hide the first
				return nil
			})
			var swallowed *pgtx.SwallowedError
			var pgError *pgconn.PgError
			if !errors.As(err, &swallowed) || !errors.Is(err, pgx.ErrTxCommitRollback) {
				t.Fatalf("error is %v, want a SwallowedError", err)
			}
			want := "22012"
			if name == "CopyFrom" {
				want = "23502"
			}
			if !errors.As(swallowed.First, &pgError) || pgError.Code != want {
				t.Errorf("first error is %v, want SQLSTATE %s", swallowed.First, want)
			}
			if got := b.balance(t, 1); got != 100 {
				t.Errorf("balance is %d, want 100", got)
			}
		})
	}
}

func TestRunCommitsAfterRecoveredFailure(t *testing.T) {
	t.Parallel()
	b := setup(t)
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		if err := add(ctx, tx, 1, -10); err != nil {
			return err
		}
		savepoint, err := tx.Begin(ctx)
		if err != nil {
			return err
		}
		if _, err := savepoint.Exec(ctx, `select 1/0`); err == nil {
			t.Error("dividing by zero went well")
		}
		return savepoint.Rollback(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := b.balance(t, 1); got != 90 {
		t.Errorf("balance is %d, want 90", got)
	}
}

func TestRunForgetsFailureUndoneBySQL(t *testing.T) {
	t.Parallel()
	b := setup(t)
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		_, _ = tx.Exec(ctx, `savepoint mine`)
		_, _ = tx.Exec(ctx, `select 1/0`)
		if _, err := tx.Exec(ctx, `rollback to savepoint mine`); err != nil {
			return err
		}
		if err := inner(ctx, b.pool, nil); err != nil {
			t.Errorf("nested Run after the failure was undone: %v", err)
		}
		_, _ = tx.Exec(ctx, `select from no_such_table`)
		return nil
	})
	var pgError *pgconn.PgError
	if !errors.As(err, &pgError) || pgError.Code != "42P01" {
		t.Errorf("error is %v, want the failure that was not undone, 42P01", err)
	}
}
