package pgtx_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"github.com/page-builder/persistence/pgtx"
)

const move = `update accounts set balance = balance + $2 where id = $1`

func moves() *pgx.Batch {
	batch := &pgx.Batch{}
	batch.Queue(move, 1, -10)
	batch.Queue(move, 2, 10)
	return batch
}

func TestAtomicTakesThreeRoundTrips(t *testing.T) {
	t.Parallel()
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			pool, flushes := countFlushes(t, b.url, mode)
			want := int64(3)
			if mode == pgx.QueryExecModeDescribeExec {
				want = 4 // it describes every time
			}
			opts := pgtx.Options{TxOptions: pgx.TxOptions{IsoLevel: pgx.RepeatableRead}}
			var isolation string
			batch := moves()
			batch.Queue(`show transaction_isolation`).QueryRow(func(row pgx.Row) error { return row.Scan(&isolation) })
			for range 2 { // the first fills the caches
				flushes.Store(0)
				if err := pgtx.Atomic(t.Context(), pool, opts, batch); err != nil {
					t.Fatal(err)
				}
			}
			if got := flushes.Load(); got != want {
				t.Errorf("took %d flushes, want %d", got, want)
			}
			if one, two := b.balance(t, 1), b.balance(t, 2); one != 80 || two != 120 {
				t.Errorf("balances are %d and %d, want 80 and 120", one, two)
			}
			if isolation != "repeatable read" {
				t.Errorf("isolation was %q", isolation)
			}
		})
	}
}

func TestAtomicFailsAsAWhole(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		sql      string
		argument any
		code     string // of the server, if it is its error
	}{
		{"a statement fails", `select 1/$1::int`, 0, "22012"},
		{"a statement cannot be prepared", `select * from missing where id = $1`, 1, "42P01"},
		{"COMMIT is refused", `insert into late values ($1)`, 7, "23503"},
		{"an argument cannot be encoded", `select $1::int`, make(chan int), ""},
	}
	for _, tt := range tests {
		for _, mode := range execModes {
			t.Run(tt.name+", "+mode.String(), func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				if _, err := b.pool.Exec(t.Context(),
					`create table late (id int references accounts deferrable initially deferred)`); err != nil {
					t.Fatal(err)
				}
				pool, _ := countFlushes(t, b.url, mode)
				batch := moves()
				batch.Queue(tt.sql, tt.argument)
				err := pgtx.Atomic(t.Context(), pool, pgtx.Options{}, batch)
				var unknown *pgtx.CommitUnknownError
				if err == nil || errors.As(err, &unknown) {
					t.Errorf("error is %v, want one that says it failed", err)
				}
				var pgError *pgconn.PgError
				if tt.code != "" && (!errors.As(err, &pgError) || pgError.Code != tt.code) {
					t.Errorf("error is %v, want SQLSTATE %s", err, tt.code)
				}
				if one, two := b.balance(t, 1), b.balance(t, 2); one != 100 || two != 100 {
					t.Errorf("balances are %d and %d, want 100 and 100", one, two)
				}
				var status byte
				if err := pool.AcquireFunc(t.Context(), func(c *pgxpool.Conn) error {
					status = c.Conn().PgConn().TxStatus()
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				if status != 'I' {
					t.Errorf("connection came back with status %c", status)
				}
			})
		}
	}
}

func TestAtomicCallbackErrorRollsBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	batch, later := &pgx.Batch{}, false
	batch.Queue(move, 1, -10).Exec(func(pgconn.CommandTag) error { return errBusiness })
	batch.Queue(move, 2, 10).Exec(func(pgconn.CommandTag) error { later = true; return nil })
	err := pgtx.Atomic(t.Context(), b.pool, pgtx.Options{}, batch)
	if !errors.Is(err, errBusiness) {
		t.Errorf("error is %v, want that of the callback", err)
	}
	if later {
		t.Error("the second callback was called")
	}
	if one, two := b.balance(t, 1), b.balance(t, 2); one != 100 || two != 100 {
		t.Errorf("balances are %d and %d, want 100 and 100", one, two)
	}
}

func TestAtomicInsideRunIsSavepoint(t *testing.T) {
	t.Parallel()
	b := setup(t)
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		if err := pgtx.Atomic(ctx, b.pool, pgtx.Options{}, moves()); err != nil {
			return err
		}
		bad := moves()
		bad.Queue(`select 1/0`)
		if err := pgtx.Atomic(ctx, b.pool, pgtx.Options{}, bad); err == nil {
			t.Error("a division by zero succeeded")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if one, two := b.balance(t, 1), b.balance(t, 2); one != 90 || two != 110 {
		t.Errorf("balances are %d and %d, want 90 and 110", one, two)
	}
}

func TestAtomicLostAnswerIsUnknown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	proxy, pool := cutCommit(t, b.url, fault.BeforeAnswer, pgx.QueryExecModeSimpleProtocol) // COMMIT is in its text
	err := pgtx.Atomic(t.Context(), pool, pgtx.Options{}, moves())
	var unknown *pgtx.CommitUnknownError
	if !errors.As(err, &unknown) {
		t.Errorf("error is %v, want a CommitUnknownError", err)
	}
	if got := proxy.Stats().Commits; got != 1 {
		t.Errorf("COMMIT was sent %d times, want once", got)
	}
	b.eventually(t, `select balance = 90 from accounts where id = 1`)
}

func TestQuerier(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if got := pgtx.Querier(t.Context(), b.pool); got != pgtx.DB(b.pool) {
		t.Errorf("outside it is a %T, want the pool", got)
	}
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		if got := pgtx.Querier(ctx, b.pool); got != pgtx.DB(tx) {
			t.Errorf("inside it is a %T, want the transaction", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
