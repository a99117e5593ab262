package pgtx_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgtx"
)

// clean fails the test if, seen from a connection outside the pool, a backend of this database is
// in a transaction, or if a connection of the pool is: a statement on it would then not commit.
func (b *bundle) clean(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	second := dedicated(t, b)
	for limit := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		var open int // a backend whose client has gone may take a while to notice
		if err := second.QueryRow(t.Context(), `select count(*) from pg_stat_activity
			where datname = current_database() and pid <> pg_backend_pid()
			and (state <> 'idle' or xact_start is not null)`).Scan(&open); err != nil {
			t.Fatal(err)
		}
		if open == 0 {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("%d backends are in a transaction", open)
		}
	}
	for _, conn := range pool.AcquireAllIdle(t.Context()) {
		if status := conn.Conn().PgConn().TxStatus(); status != 'I' {
			t.Errorf("a connection came back with status %c", status)
		}
		conn.Release()
	}
	if _, err := pool.Exec(t.Context(), `update accounts set balance = 7 where id = 2`); err != nil {
		t.Fatal(err)
	}
	var balance int
	if err := second.QueryRow(t.Context(), `select balance from accounts where id = 2`).Scan(&balance); err != nil ||
		balance != 7 {
		t.Errorf("what was written afterwards is %d for others: %v", balance, err)
	}
}

// What a function still does after its transaction timed out, in it or later, by whatever handle,
// is never applied: it must not fall through to a connection on which it commits itself.
func TestNothingIsAppliedAfterATimeout(t *testing.T) {
	t.Parallel()
	waits := map[string]func(ctx context.Context, tx pgx.Tx){
		"between statements": func(ctx context.Context, _ pgx.Tx) { <-ctx.Done() },
		"in a statement":     func(ctx context.Context, tx pgx.Tx) { _, _ = tx.Exec(ctx, `select pg_sleep($1)`, 60) },
		"with open rows":     func(ctx context.Context, tx pgx.Tx) { _, _ = tx.Query(ctx, `select id from accounts`); <-ctx.Done() },
		"before the first":   nil,
	}
	for name, wait := range waits {
		for _, eager := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, eager %v", name, eager), func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				writes := func(ctx context.Context, tx pgx.Tx) {
					live := context.WithoutCancel(ctx)
					_ = add(live, tx, 1, 1)
					_, _ = pgtx.Querier(live, b.pool).Exec(live,
						`update accounts set balance = balance + 1 where id = 1`)
					_ = tx.SendBatch(live, moves()).Close()
					_ = inner(live, b.pool, nil)
					_ = pgtx.Atomic(live, b.pool, pgtx.Options{}, moves())
				}
				var late context.Context
				var handle pgx.Tx
				opts := pgtx.Options{Timeout: 300 * time.Millisecond, Eager: eager}
				err := pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
					late, handle = ctx, tx
					if wait == nil {
						<-ctx.Done()
					} else {
						if err := add(ctx, tx, 1, 1); err != nil {
							return err
						}
						wait(ctx, tx)
					}
					writes(ctx, tx)
					return nil
				})
				if !errors.Is(err, pgtx.ErrTimeout) && !errors.Is(err, pgtx.ErrTxInUse) {
					t.Errorf("error is %v, want ErrTimeout", err)
				}
				writes(late, handle)
				var balance int
				if err := dedicated(t, b).QueryRow(t.Context(),
					`select balance from accounts where id = 1`).Scan(&balance); err != nil || balance != 100 {
					t.Errorf("balance is %d, want 100: %v", balance, err)
				}
				b.clean(t, b.pool)
			})
		}
	}
}

// Limits that run out at every point of the acquire, of BEGIN and of the first statements never
// leave a connection in a transaction, nor half of one in the table.
func TestNoConnectionComesBackInATransaction(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]func(*pgtx.Options, time.Duration){
		"AcquireTimeout": func(o *pgtx.Options, d time.Duration) { o.AcquireTimeout = d },
		"Timeout":        func(o *pgtx.Options, d time.Duration) { o.Timeout = d },
		"StatementTimeout": func(o *pgtx.Options, d time.Duration) {
			o.StatementTimeout = d
			o.LockTimeout = d
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			config := b.pool.Config()
			config.MaxConns = 2
			pool, err := pgxpool.NewWithConfig(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(pool.Close)
			var done sync.WaitGroup
			var mu sync.Mutex
			var committed, failed int
			for worker := range 8 {
				done.Go(func() {
					for i := range 25 {
						opts := pgtx.Options{MaxAttempts: 1, Eager: i%2 == 0}
						limit(&opts, 1+rand.N(8*time.Millisecond))
						var err error
						if worker%4 == 3 {
							err = pgtx.Atomic(t.Context(), pool, opts, moves())
						} else {
							err = pgtx.RunWith(t.Context(), pool, opts, func(ctx context.Context, tx pgx.Tx) error {
								_, err := tx.Exec(ctx, `select pg_sleep(0.003)`)
								return errors.Join(err, add(ctx, tx, 1, -10), add(ctx, tx, 2, 10))
							})
						}
						mu.Lock()
						if err == nil {
							committed++
						} else {
							failed++
						}
						mu.Unlock()
					}
				})
			}
			done.Wait()
			if one, two := b.balance(t, 1), b.balance(t, 2); one+two != 200 {
				t.Errorf("balances are %d and %d: half of a transaction was applied", one, two)
			}
			if failed == 0 {
				t.Errorf("no limit was met in %d transactions", committed)
			}
			b.clean(t, pool)
		})
	}
}
