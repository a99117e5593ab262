package pgtx_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgtx"
)

func TestCommitAndRollbackAreManaged(t *testing.T) {
	t.Parallel()
	b := setup(t)
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		defer tx.Rollback(ctx) // the habit must do no harm
		if err := tx.Commit(ctx); !errors.Is(err, pgtx.ErrManaged) {
			t.Errorf("Commit returned %v, want ErrManaged", err)
		}
		if err := tx.Rollback(ctx); !errors.Is(err, pgtx.ErrManaged) {
			t.Errorf("Rollback returned %v, want ErrManaged", err)
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

func TestUseAfterFunctionReturned(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var escapedCtx, nestedCtx context.Context
	var escaped, nested pgx.Tx
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		escapedCtx, escaped = ctx, tx
		err := pgtx.Run(ctx, b.pool, func(ctx context.Context, tx pgx.Tx) error {
			nestedCtx, nested = ctx, tx
			return nil
		})
		// The outer function still runs: its own handle works, the inner one's does not.
		if _, err := nested.Exec(ctx, `select 1`); !errors.Is(err, pgtx.ErrTxClosed) {
			t.Errorf("nested handle: %v, want ErrTxClosed", err)
		}
		if err := inner(nestedCtx, b.pool, nil); !errors.Is(err, pgtx.ErrTxClosed) {
			t.Errorf("Run with the nested ctx: %v, want ErrTxClosed", err)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	ctx := t.Context()
	_, execErr := escaped.Exec(ctx, `select 1`)
	rows, queryErr := escaped.Query(ctx, `select 1`)
	rows.Close()
	_, copyErr := escaped.CopyFrom(ctx, pgx.Identifier{"accounts"}, []string{"id"}, pgx.CopyFromRows(nil))
	_, prepareErr := escaped.Prepare(ctx, "", `select 1`)
	_, beginErr := escaped.Begin(ctx)
	for call, err := range map[string]error{
		"Exec": execErr, "Query": queryErr, "Rows.Err": rows.Err(), "CopyFrom": copyErr, "Prepare": prepareErr, "Begin": beginErr,
		"QueryRow":  escaped.QueryRow(ctx, `select 1`).Scan(),
		"SendBatch": escaped.SendBatch(ctx, &pgx.Batch{}).Close(),
		"Commit":    escaped.Commit(ctx),
		"Rollback":  escaped.Rollback(ctx),
		"Run":       inner(escapedCtx, b.pool, nil),
		"Run on it": inner(ctx, escaped, nil),
	} {
		if !errors.Is(err, pgtx.ErrTxClosed) || !errors.Is(err, pgx.ErrTxClosed) {
			t.Errorf("%s: error is %v, want ErrTxClosed", call, err)
		}
	}
	if tx, ok := pgtx.From(escapedCtx, b.pool); !ok || tx != escaped {
		t.Errorf("From is %v, %v, want the closed handle: a fall back to the pool would write without a transaction", tx, ok)
	}
}

func TestFunctionThatEndsTheTransaction(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, result := range []error{nil, errBusiness} {
		calls := 0
		var told reports
		err := pgtx.RunWith(t.Context(), b.pool, pgtx.Options{Observe: told.observe},
			func(ctx context.Context, tx pgx.Tx) error {
				calls++
				hook := func(context.Context) error {
					t.Error("a hook was called: what it waits for is not known")
					return nil
				}
				if err := errors.Join(pgtx.AfterCommit(ctx, tx, hook), pgtx.AfterRollback(ctx, tx, hook),
					add(ctx, tx, 1, -10)); err != nil {
					return err
				}
				if _, err := tx.Exec(ctx, `commit`); err != nil {
					return err
				}
				return result
			})
		if result == nil && !errors.Is(err, pgtx.ErrEnded) || result != nil && !errors.Is(err, result) {
			t.Errorf("error is %v", err)
		}
		if calls != 1 || told.seen[0].Outcome != pgtx.OutcomeUnknown {
			t.Errorf("function called %d times, want 1; outcome is %s", calls, told.seen[0].Outcome)
		}
	}
}

type uncomparable struct {
	*pgxpool.Pool
	_ []int
}

func TestUnusableArguments(t *testing.T) {
	t.Parallel()
	b := setup(t)
	nothing := func(context.Context, pgx.Tx) error { return nil }
	hook := func(context.Context) error { return nil }
	var noPool *pgxpool.Pool
	odd := uncomparable{Pool: b.pool}
	begins := &pgx.Batch{}
	begins.BeginTx(pgx.TxOptions{})
	begins.Queue(`select 1`)
	some := &pgx.Batch{}
	some.Queue(`select 1`)
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"nil db":                  {pgtx.Run(t.Context(), nil, nothing), ""},
		"nil pool":                {pgtx.Run(t.Context(), noPool, nothing), ""},
		"nil function":            {pgtx.Run(t.Context(), b.pool, nil), ""},
		"uncomparable db":         {pgtx.Run(t.Context(), odd, nothing), ""},
		"nesting":                 {pgtx.RunWith(t.Context(), b.pool, pgtx.Options{Nesting: 99}, nothing), "nesting 99 does not exist"},
		"nil batch":               {pgtx.Atomic(t.Context(), b.pool, pgtx.Options{}, nil), "batch: the batch is nil"},
		"batch that begins":       {pgtx.Atomic(t.Context(), b.pool, pgtx.Options{}, begins), "remove its BeginTx and pass TxOptions"},
		"batch on no db":          {pgtx.Atomic(t.Context(), nil, pgtx.Options{}, some), "begin: "},
		"nil hook":                {pgtx.AfterCommit(t.Context(), b.pool, nil), "hook: the function is nil"},
		"hook on uncomparable db": {pgtx.BeforeCommit(t.Context(), odd, hook), "hook: "},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: error is %v, want %q", name, tt.err, tt.want)
		}
	}
	if _, err := pgtx.Value[int](t.Context(), b.pool, nil); err == nil {
		t.Error("nil function of Value: no error")
	}
	if err := pgtx.Atomic(t.Context(), b.pool, pgtx.Options{}, &pgx.Batch{}); err != nil {
		t.Errorf("an empty batch: %v, want nothing to do", err)
	}
}

// A lock whose transaction is over.
func TestUnusableLock(t *testing.T) {
	t.Parallel()
	b := setup(t)
	keys := []pgtx.LockKey{1, 2}
	var escaped pgx.Tx
	if err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		escaped = tx
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := pgtx.Lock(t.Context(), escaped, pgtx.LockOptions{}, keys...); !errors.Is(err, pgtx.ErrTxClosed) ||
		!strings.HasPrefix(err.Error(), "lock: ") {
		t.Errorf("Lock: error is %v", err)
	}
	for _, some := range [][]pgtx.LockKey{keys, keys[:1]} {
		if free, err := pgtx.TryLock(t.Context(), escaped, pgtx.LockOptions{}, some...); free ||
			!errors.Is(err, pgtx.ErrTxClosed) || !strings.HasPrefix(err.Error(), "try lock: ") {
			t.Errorf("TryLock of %d: %t, %v", len(some), free, err)
		}
	}
}
