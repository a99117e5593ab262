package pgtx_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"github.com/page-builder/persistence/pgtx"
)

// deferred makes a constraint that only COMMIT finds violated.
const deferred = `
	create table parents (id int primary key);
	create table children (parent int references parents deferrable initially deferred)`

func orphan(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `insert into children values ($1)`, 1)
	return err
}

func TestPhases(t *testing.T) {
	t.Parallel()
	nothing := func(context.Context, pgx.Tx) error { return nil }
	write := func(ctx context.Context, tx pgx.Tx) error { return add(ctx, tx, 1, 1) }
	swallow := func(ctx context.Context, tx pgx.Tx) error { _, _ = tx.Exec(ctx, `select 1/0`); return nil }
	once := pgtx.Options{MaxAttempts: 1}
	refusedBegin := pgtx.Options{MaxAttempts: 1, TxOptions: pgx.TxOptions{BeginQuery: `begin; select 1/0`}}
	tests := []struct {
		name     string
		run      func(t *testing.T, b *bundle) error
		phase    string
		category pgerr.Category
		is       error
	}{
		{"no connection, lazy", func(t *testing.T, b *bundle) error {
			opts := pgtx.Options{MaxAttempts: 1, AcquireTimeout: 10 * time.Millisecond}
			return pgtx.RunWith(t.Context(), taken(t, b), opts, write)
		}, "acquire", pgerr.Timeout, pgtx.ErrAcquireTimeout},
		{"no connection, eager", func(t *testing.T, b *bundle) error {
			opts := pgtx.Options{MaxAttempts: 1, Eager: true, AcquireTimeout: 10 * time.Millisecond}
			return pgtx.RunWith(t.Context(), taken(t, b), opts, write)
		}, "acquire", pgerr.Timeout, pgtx.ErrAcquireTimeout},
		{"no connection before ctx ends, eager", func(t *testing.T, b *bundle) error {
			pool := taken(t, b)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return pgtx.RunWith(ctx, pool, pgtx.Options{MaxAttempts: 1, Eager: true}, write)
		}, "acquire", pgerr.Timeout, context.DeadlineExceeded},
		{"no connection within Timeout", func(t *testing.T, b *bundle) error {
			return pgtx.RunWith(t.Context(), taken(t, b), pgtx.Options{Timeout: time.Second}, write)
		}, "acquire", pgerr.Timeout, pgtx.ErrTimeout},
		{"no connection, Atomic", func(t *testing.T, b *bundle) error {
			opts := pgtx.Options{MaxAttempts: 1, AcquireTimeout: 10 * time.Millisecond}
			return pgtx.Atomic(t.Context(), taken(t, b), opts, moves())
		}, "acquire", pgerr.Timeout, pgtx.ErrAcquireTimeout},
		{"full pool, separate", func(t *testing.T, b *bundle) error {
			pool, _ := countFlushes(t, b.url, pgx.QueryExecModeExec) // of one connection
			return pgtx.RunWith(t.Context(), pool, once, func(ctx context.Context, tx pgx.Tx) error {
				if err := write(ctx, tx); err != nil {
					return err
				}
				return pgtx.RunWith(ctx, pool, pgtx.Options{MaxAttempts: 1, Nesting: pgtx.Separate}, write)
			})
		}, "acquire", "", pgtx.ErrPoolFull},

		{"BEGIN refused, alone", func(t *testing.T, b *bundle) error {
			opts := refusedBegin
			opts.Eager = true
			return pgtx.RunWith(t.Context(), b.pool, opts, nothing)
		}, "begin", "", nil},
		{"BEGIN refused, with an Exec without arguments", func(t *testing.T, b *bundle) error {
			opts := pgtx.Options{MaxAttempts: 1, TxOptions: pgx.TxOptions{BeginQuery: `do 'begin perform 1/0; end'`}}
			return pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `delete from accounts`)
				return err
			})
		}, "begin", "", nil},
		{"BEGIN refused, with a statement", func(t *testing.T, b *bundle) error {
			opts := pgtx.Options{MaxAttempts: 1, TxOptions: pgx.TxOptions{BeginQuery: `do 'begin perform 1/0; end'`}}
			return pgtx.RunWith(t.Context(), b.pool, opts, write)
		}, "begin", "", nil},
		{"ctx has ended", func(t *testing.T, b *bundle) error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return pgtx.Run(ctx, b.pool, write)
		}, "begin", "", context.Canceled},
		{"connection in a transaction", func(t *testing.T, b *bundle) error {
			conn := dedicated(t, b)
			if _, err := conn.Exec(t.Context(), `begin`); err != nil {
				return err
			}
			return pgtx.Run(t.Context(), conn, write)
		}, "begin", "", nil},
		{"connection closed", func(t *testing.T, b *bundle) error {
			conn := dedicated(t, b)
			_ = conn.Close(t.Context())
			return pgtx.Run(t.Context(), conn, write)
		}, "begin", "", nil},
		{"connection closed, Atomic", func(t *testing.T, b *bundle) error {
			conn := dedicated(t, b)
			_ = conn.Close(t.Context())
			return pgtx.Atomic(t.Context(), conn, pgtx.Options{}, moves())
		}, "begin", "", pgconn.ErrConnClosed},
		{"savepoint refused", func(t *testing.T, b *bundle) error {
			return pgtx.RunWith(t.Context(), b.pool, once, func(ctx context.Context, tx pgx.Tx) error {
				_, _ = tx.Exec(ctx, `select 1/0`)
				return pgtx.Run(ctx, b.pool, write)
			})
		}, "begin", "", nil},
		{"option conflict", func(t *testing.T, b *bundle) error {
			return pgtx.RunWith(t.Context(), b.pool, pgtx.Options{}, func(ctx context.Context, _ pgx.Tx) error {
				opts := pgtx.Options{TxOptions: pgx.TxOptions{IsoLevel: pgx.Serializable}}
				return pgtx.RunWith(ctx, b.pool, opts, write)
			})
		}, "begin", "", pgtx.ErrOptionConflict},

		{
			"swallowed", func(t *testing.T, b *bundle) error {
				return pgtx.RunWith(t.Context(), b.pool, once, swallow)
			},
			"run", "", pgx.ErrTxCommitRollback,
		},
		{"swallowed in a savepoint", func(t *testing.T, b *bundle) error {
			return pgtx.RunWith(t.Context(), b.pool, once, func(ctx context.Context, _ pgx.Tx) error {
				return pgtx.Run(ctx, b.pool, swallow)
			})
		}, "run", "", pgx.ErrTxCommitRollback},
		{"swallowed in a joined function", func(t *testing.T, b *bundle) error {
			return pgtx.RunWith(t.Context(), b.pool, once, func(ctx context.Context, _ pgx.Tx) error {
				return pgtx.RunWith(ctx, b.pool, pgtx.Options{Nesting: pgtx.Join}, swallow)
			})
		}, "run", "", pgx.ErrTxCommitRollback},
		{"ctx ends unnoticed", func(t *testing.T, b *bundle) error {
			ctx, cancel := context.WithCancel(t.Context())
			return pgtx.Run(ctx, b.pool, func(context.Context, pgx.Tx) error { cancel(); return nil })
		}, "run", "", context.Canceled},
		{"Timeout in a statement", func(t *testing.T, b *bundle) error {
			opts := pgtx.Options{Timeout: 2 * time.Second}
			return pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
				if err := write(ctx, tx); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, `select pg_sleep(60)`)
				return err
			})
		}, "run", pgerr.Timeout, pgtx.ErrTimeout},
		{"ended by the function", func(t *testing.T, b *bundle) error {
			return pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `commit`)
				return err
			})
		}, "run", "", pgtx.ErrEnded},
		{"Atomic, a statement", func(t *testing.T, b *bundle) error {
			batch := moves()
			batch.Queue(`select 1/$1::int`, 0)
			return pgtx.Atomic(t.Context(), b.pool, pgtx.Options{}, batch)
		}, "run", "", nil},

		{"COMMIT refused", func(t *testing.T, b *bundle) error {
			b.exec(t, deferred)
			return pgtx.Run(t.Context(), b.pool, orphan)
		}, "commit", "", nil},
		{"COMMIT refused, Atomic", func(t *testing.T, b *bundle) error {
			b.exec(t, deferred)
			batch := &pgx.Batch{}
			batch.Queue(`insert into children values (1)`)
			return pgtx.Atomic(t.Context(), b.pool, pgtx.Options{}, batch)
		}, "commit", "", nil},
		{"COMMIT unknown", func(t *testing.T, b *bundle) error {
			_, pool := cutCommit(t, b.url, fault.BeforeAnswer)
			return pgtx.Run(t.Context(), pool, write)
		}, "commit", pgerr.CommitUnknown, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			began := time.Now()
			err := tt.run(t, b)
			took := time.Since(began)
			var failed *pgtx.PhaseError
			if !errors.As(err, &failed) {
				t.Fatalf("error is %v, want a PhaseError", err)
			}
			if failed.Phase != tt.phase || failed.After < 0 || failed.After > took {
				t.Errorf("%v after %v of %v: %v, want %v", failed.Phase, failed.After, took, err, tt.phase)
			}
			if tt.category != "" && pgerr.Of(err) != tt.category {
				t.Errorf("category of %v is %q, want %q", err, pgerr.Of(err), tt.category)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error is %v, want %v", err, tt.is)
			}
		})
	}
}
