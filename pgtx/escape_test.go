package pgtx_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtx"
)

// A ctx and a handle that escape to goroutines meet errors with a name, never a data race, while
// the function runs, when it returns and afterwards; and what the goroutines do is part of the
// transaction or does not happen. The race detector is what this test is for.
func TestEscapeToGoroutines(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]pgtx.Options{"lazy": {MaxAttempts: 1}, "eager": {MaxAttempts: 1, Eager: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			calls := map[string]func(ctx context.Context, tx pgx.Tx) error{
				"Exec":      func(ctx context.Context, tx pgx.Tx) error { return add(ctx, tx, 1, 1) },
				"QueryRow":  func(ctx context.Context, tx pgx.Tx) error { return tx.QueryRow(ctx, `select 1`).Scan(new(int)) },
				"SendBatch": func(ctx context.Context, tx pgx.Tx) error { return tx.SendBatch(ctx, moves()).Close() },
				"Querier": func(ctx context.Context, _ pgx.Tx) error {
					_, err := pgtx.Querier(ctx, b.pool).Exec(ctx,
						`update accounts set balance = balance + 1 where id = 1`)
					return err
				},
				"Run": func(ctx context.Context, _ pgx.Tx) error { return inner(ctx, b.pool, nil) },
				"Joined": func(ctx context.Context, tx pgx.Tx) error {
					return pgtx.RunWith(ctx, tx, pgtx.Options{Nesting: pgtx.Join}, addOne)
				},
				"Atomic": func(ctx context.Context, _ pgx.Tx) error {
					return pgtx.Atomic(ctx, b.pool, pgtx.Options{}, moves())
				},
				"hook": func(ctx context.Context, _ pgx.Tx) error {
					return pgtx.AfterRollback(ctx, b.pool, func(context.Context) error { return nil })
				},
			}
			var started, done sync.WaitGroup
			err := pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
				for name, call := range calls {
					started.Add(1)
					done.Go(func() {
						err := call(ctx, tx)
						started.Done()
						for ; !errors.Is(err, pgtx.ErrTxClosed); err = call(ctx, tx) {
							var lost interface{ SafeToRetry() bool } // the connection was taken away under a statement
							if err != nil && !errors.Is(err, pgtx.ErrTxInUse) && tx.Conn() != nil &&
								!tx.Conn().IsClosed() && !errors.As(err, &lost) {
								t.Errorf("%s: %v, want ErrTxInUse or ErrTxClosed", name, err)
							}
						}
					})
				}
				started.Wait()
				return errBusiness // whatever they did is undone
			})
			done.Wait()
			if err != errBusiness {
				t.Errorf("error is %v, want the function's own", err)
			}
			if got := b.balance(t, 1); got != 100 {
				t.Errorf("balance is %d, want 100: something was written outside the transaction", got)
			}
		})
	}
}

func addOne(ctx context.Context, tx pgx.Tx) error { return add(ctx, tx, 1, 1) }

// Rows, rows of batches, callbacks and Scanners that are at work in goroutines while Run ends meet
// ErrTxClosed or a connection that is gone. The race detector is what this test is for.
func TestRowsEscapeToGoroutines(t *testing.T) {
	t.Parallel()
	const series = `select n from generate_series(1, 300) n`
	walk := func(rows pgx.Rows) error {
		defer rows.Close()
		for rows.Next() {
			var n int
			if err := rows.Scan(&n); err != nil {
				return err
			}
			_, _, _, _ = rows.Conn(), rows.CommandTag(), rows.FieldDescriptions(), rows.RawValues()
			if _, err := rows.Values(); err != nil {
				return err
			}
		}
		return rows.Err()
	}
	for name, use := range map[string]func(ctx context.Context, tx pgx.Tx) error{
		"rows": func(ctx context.Context, tx pgx.Tx) error {
			rows, err := tx.Query(ctx, series)
			if err != nil {
				return err
			}
			return walk(rows)
		},
		"a row": func(ctx context.Context, tx pgx.Tx) error {
			return tx.QueryRow(ctx, series).Scan(new(int))
		},
		"rows of a batch": func(ctx context.Context, tx pgx.Tx) error {
			b := &pgx.Batch{}
			b.Queue(series)
			b.Queue(`select $1::int`, 1)
			results := tx.SendBatch(ctx, b)
			rows, err := results.Query()
			if err == nil {
				err = walk(rows)
			}
			return errors.Join(err, results.QueryRow().Scan(new(int)), results.Close())
		},
		"callbacks of a batch": func(ctx context.Context, tx pgx.Tx) error {
			b := &pgx.Batch{}
			b.Queue(series).Query(walk)
			b.Queue(`select 1`).QueryRow(func(row pgx.Row) error { return row.Scan(new(int)) })
			return tx.SendBatch(ctx, b).Close()
		},
		"a savepoint": func(ctx context.Context, tx pgx.Tx) error {
			sp, err := tx.Begin(ctx)
			if err != nil {
				return err
			}
			return errors.Join(sp.QueryRow(ctx, series).Scan(new(int)), sp.Rollback(ctx))
		},
		"CopyFrom": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.CopyFrom(ctx, pgx.Identifier{"accounts"}, []string{"id"}, pgx.CopyFromRows([][]any{{1000}}))
			return err
		},
		"LargeObjects": func(_ context.Context, tx pgx.Tx) error { _ = tx.LargeObjects(); _ = tx.Conn(); return nil },
	} {
		for _, eager := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				var done sync.WaitGroup
				for range 5 {
					err := pgtx.RunWith(t.Context(), b.pool, pgtx.Options{MaxAttempts: 1, Eager: eager},
						func(ctx context.Context, tx pgx.Tx) error {
							started := make(chan struct{})
							start := sync.OnceFunc(func() { close(started) })
							for range 2 {
								done.Go(func() {
									err := use(ctx, tx)
									start()
									for range 1000 {
										if errors.Is(err, pgtx.ErrTxClosed) || ctx.Err() != nil {
											return
										}
										err = use(ctx, tx)
									}
								})
							}
							<-started
							return errBusiness
						})
					if err != errBusiness {
						t.Errorf("error is %v, want the function's own", err)
					}
				}
				done.Wait()
				if got := b.balance(t, 1); got != 100 {
					t.Errorf("balance is %d", got)
				}
			})
		}
	}
}

// A callback that blocks for longer than Run waits keeps its connection, and gives it back when it
// returns. Run does not touch it meanwhile.
func TestCallbackOutlivesRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	entered, release, left := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	err := pgtx.RunWith(t.Context(), b.pool, pgtx.Options{MaxAttempts: 3}, func(ctx context.Context, tx pgx.Tx) error {
		if err := add(ctx, tx, 1, 1); err != nil {
			return err
		}
		go func() {
			left <- tx.QueryRow(ctx, `select id from accounts`).Scan(scanner(func() { close(entered); <-release }))
		}()
		<-entered
		return nil
	})
	if !errors.Is(err, pgtx.ErrTxInUse) {
		t.Errorf("error is %v, want ErrTxInUse", err)
	}
	if got := b.pool.Stat().AcquiredConns(); got != 1 {
		t.Errorf("%d connections are acquired, want the one of the callback", got)
	}
	close(release)
	<-left
	for b.pool.Stat().AcquiredConns() > 0 && t.Context().Err() == nil {
		runtime.Gosched()
	}
	if got := b.balance(t, 1); got != 100 {
		t.Errorf("balance is %d, want 100", got)
	}
}
