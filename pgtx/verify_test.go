package pgtx_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"github.com/page-builder/persistence/pgtx"
)

var verified = pgtx.Options{VerifyCommit: true}

// firsts are the calls that can begin a transaction: with the first statement, before it, and as
// text.
var firsts = map[string]func(context.Context, pgx.Tx) error{
	"with arguments": func(ctx context.Context, tx pgx.Tx) error { return add(ctx, tx, 1, -10) },
	"without": func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update accounts set balance = balance - 4 where id = 1;
			update accounts set balance = balance - 6 where id = 1`)
		return err
	},
	"query": func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, `update accounts set balance = balance - 10
			where id = $1 returning balance`, 1).Scan(new(int))
	},
	"batch": func(ctx context.Context, tx pgx.Tx) error {
		batch := &pgx.Batch{}
		batch.Queue(`update accounts set balance = balance - $1 where id = 1`, 10)
		return tx.SendBatch(ctx, batch).Close()
	},
	"alone": func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update accounts set balance = balance - $1 where id = 1`, pgx.QueryExecModeExec, 10)
		return err
	},
	"nested": func(ctx context.Context, tx pgx.Tx) error {
		return pgtx.Run(ctx, tx, func(ctx context.Context, tx pgx.Tx) error { return add(ctx, tx, 1, -10) })
	},
}

// A broken COMMIT is resolved in every exec mode, whatever call begins the transaction.
func TestVerifyCommit(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		where fault.Cut
		opts  pgtx.Options
		calls int
	}{
		"not received":        {fault.BeforeRequest, verified, 2},
		"answer lost":         {fault.BeforeAnswer, verified, 1},
		"not received, eager": {fault.BeforeRequest, pgtx.Options{VerifyCommit: true, Eager: true}, 2},
		"answer lost, eager":  {fault.BeforeAnswer, pgtx.Options{VerifyCommit: true, Eager: true}, 1},
		"with limits": {fault.BeforeAnswer, pgtx.Options{
			VerifyCommit: true, StatementTimeout: time.Minute, LockTimeout: time.Minute,
			TxOptions: pgx.TxOptions{IsoLevel: pgx.Serializable},
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			spent := 0
			for _, mode := range execModes {
				for first, fn := range firsts {
					_, pool := cutCommit(t, b.url, tt.where, mode)
					calls, after := 0, 0
					err := pgtx.RunWith(t.Context(), pool, tt.opts, func(ctx context.Context, tx pgx.Tx) error {
						calls++
						hook := func(context.Context) error { after++; return nil }
						if err := pgtx.AfterCommit(ctx, pool, hook); err != nil {
							return err
						}
						return fn(ctx, tx)
					})
					if err != nil || calls != tt.calls || after != 1 {
						t.Errorf("%v, %s: error is %v after %d calls, want none after %d; %d hooks, want 1",
							mode, first, err, calls, tt.calls, after)
					}
					if spent += 10; b.balance(t, 1) != 100-spent {
						t.Fatalf("%v, %s: balance is %d, want %d", mode, first, b.balance(t, 1), 100-spent)
					}
					(&bundle{pool: pool}).released(t)
					pool.Close() // there are many
				}
			}
		})
	}
}

// A single connection that broke is replaced by a new one for the question, not for another
// attempt.
func TestVerifyCommitOnSingleConnection(t *testing.T) {
	t.Parallel()
	for _, mode := range execModes {
		for _, where := range []fault.Cut{fault.BeforeRequest, fault.BeforeAnswer} {
			b := setup(t)
			_, pool := cutCommit(t, b.url, where, mode)
			pooled, err := pool.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			calls := 0
			err = pgtx.RunWith(t.Context(), pooled, verified, func(ctx context.Context, tx pgx.Tx) error {
				calls++
				return add(ctx, tx, 1, -10)
			})
			pooled.Release()
			pool.Close()
			committed := b.balance(t, 1) == 90
			if committed != (where == fault.BeforeAnswer) || (err == nil) != committed || calls != 1 ||
				errors.As(err, new(*pgtx.CommitUnknownError)) {
				t.Errorf("%v: error is %v after %d calls, committed is %v", mode, err, calls, committed)
			}
		}
	}
}
