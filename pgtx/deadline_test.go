package pgtx_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgtx"
)

// inForce reads the statement_timeout.
func inForce(ctx context.Context, t *testing.T, tx pgx.Tx) time.Duration {
	t.Helper()
	var ms int64
	err := tx.QueryRow(ctx, `select (extract(epoch from current_setting('statement_timeout')::interval) * 1000)::bigint`).Scan(&ms)
	if err != nil {
		t.Errorf("read the limit: %v", err)
	}
	return time.Duration(ms) * time.Millisecond
}

func TestStatementTimeoutStaysBelowTheDeadline(t *testing.T) {
	t.Parallel()
	firsts := map[string]func(context.Context, pgx.Tx) error{
		"nothing":           func(context.Context, pgx.Tx) error { return nil },
		"Exec":              func(ctx context.Context, tx pgx.Tx) error { return add(ctx, tx, 1, 1) },
		"Exec, no argument": func(ctx context.Context, tx pgx.Tx) error { _, err := tx.Exec(ctx, `select 1`); return err },
		"Batch":             func(ctx context.Context, tx pgx.Tx) error { return tx.SendBatch(ctx, moves()).Close() },
		"Begin":             func(ctx context.Context, tx pgx.Tx) error { return inner(ctx, tx, nil) },
		"SET TRANSACTION": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `set transaction isolation level serializable`)
			return err
		},
		"SET TRANSACTION as a Query": func(ctx context.Context, tx pgx.Tx) error {
			rows, err := tx.Query(ctx, `set transaction isolation level serializable`)
			rows.Close()
			return errors.Join(err, rows.Err())
		},
		"SET TRANSACTION in a batch": func(ctx context.Context, tx pgx.Tx) error {
			b := &pgx.Batch{}
			b.Queue(`set transaction isolation level serializable`)
			return tx.SendBatch(ctx, b).Close()
		},
	}
	limits := []struct{ option, least, most time.Duration }{
		{0, 0, 0},
		{-1, 0, 0},
		{time.Second, time.Second, time.Second},
		{time.Hour, 30 * time.Second, 59 * time.Second},
	}
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			pool, _ := countFlushes(t, b.url, mode)
			for name, first := range firsts {
				for _, limit := range limits {
					for _, eager := range []bool{false, true} {
						opts := pgtx.Options{StatementTimeout: limit.option, Timeout: time.Minute, Eager: eager}
						if err := pgtx.RunWith(t.Context(), pool, opts, func(ctx context.Context, tx pgx.Tx) error {
							if err := first(ctx, tx); err != nil {
								return err
							}
							if got := inForce(ctx, t, tx); got < limit.least || got > limit.most {
								t.Errorf("%s, eager %v: it is %v, want %+v", name, eager, got, limit)
							}
							return nil
						}); err != nil {
							t.Errorf("%s, eager %v, %v: %v", name, eager, limit.option, err)
						}
					}
				}
			}
		})
	}
}

func TestStatementTimeoutBelowTheDeadlineOfAtomicAndConnections(t *testing.T) {
	t.Parallel()
	b := setup(t)
	opts := pgtx.Options{StatementTimeout: time.Hour, Timeout: time.Minute}
	if err := pgtx.RunWith(t.Context(), dedicated(t, b), opts, func(ctx context.Context, tx pgx.Tx) error {
		if got := inForce(ctx, t, tx); got < 30*time.Second || got > 59*time.Second {
			t.Errorf("on a connection it is %v", got)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	var text string
	batch := &pgx.Batch{}
	batch.Queue(`show statement_timeout`).QueryRow(func(row pgx.Row) error { return row.Scan(&text) })
	if err := pgtx.Atomic(t.Context(), b.pool, opts, batch); err != nil {
		t.Error(err)
	}
	if got, err := time.ParseDuration(text); err != nil || got < 30*time.Second || got > 59*time.Second {
		t.Errorf("in Atomic it is %s: %v", text, err)
	}
}

// It costs no flush, also not for a new value in a statement cache.
func TestStatementTimeoutBelowTheDeadlineTakesNoFlush(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pool, flushes := countFlushes(t, b.url, pgx.QueryExecModeCacheStatement)
	opts := pgtx.Options{StatementTimeout: time.Hour, Timeout: time.Minute}
	for round := range 3 {
		flushes.Store(0)
		if err := pgtx.RunWith(t.Context(), pool, opts, func(ctx context.Context, tx pgx.Tx) error {
			return add(ctx, tx, 1, 1)
		}); err != nil {
			t.Fatal(err)
		}
		if got := flushes.Load(); round > 0 && got != 2 {
			t.Errorf("took %d flushes, want 2", got)
		}
	}
}

// The server cancels the statement before the client has to break the connection.
func TestDeadlineLeavesTheConnection(t *testing.T) {
	t.Parallel()
	tests := map[string]func(ctx context.Context, tx pgx.Tx) error{
		"first": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `select pg_sleep($1)`, 60)
			return err
		},
		"later": func(ctx context.Context, tx pgx.Tx) error {
			if err := add(ctx, tx, 1, 1); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `select pg_sleep(60)`)
			return err
		},
		"of a row": func(ctx context.Context, tx pgx.Tx) error {
			return tx.QueryRow(ctx, `select 1 from pg_sleep($1)`, 60).Scan(new(int))
		},
	}
	for name, fn := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			pool, _ := countFlushes(t, b.url, pgx.QueryExecModeCacheStatement) // of one connection
			pid := func() (pid int) {
				if err := pool.QueryRow(t.Context(), `select pg_backend_pid()`).Scan(&pid); err != nil {
					t.Fatal(err)
				}
				return pid
			}
			before := pid()
			// A tenth of it is the margin in which the server has to be heard.
			opts := pgtx.Options{Timeout: 6 * time.Second, StatementTimeout: time.Hour}
			err := pgtx.RunWith(t.Context(), pool, opts, fn)
			var pgError *pgconn.PgError
			if !errors.As(err, &pgError) || pgError.Code != "57014" {
				t.Errorf("error is %v, want SQLSTATE 57014", err)
			}
			if after := pid(); after != before {
				t.Error("the connection was replaced")
			}
			if got := b.balance(t, 1); got != 100 {
				t.Errorf("balance is %d, want 100", got)
			}
		})
	}
}
