package pgtx_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"github.com/page-builder/persistence/pgtx"
)

func setupKeys(t *testing.T) *bundle {
	t.Helper()
	b := setup(t)
	if _, err := b.pool.Exec(t.Context(), pgtx.IdempotencyTableSQL); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSameKeyRunsOnce(t *testing.T) {
	t.Parallel()
	b := setupKeys(t)
	conn, err := b.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	type receipt struct {
		Balance int
		Note    *string
	}
	spent := 0
	for _, mode := range execModes {
		pool, _ := countFlushes(t, b.url, mode)
		for name, db := range map[string]pgtx.DB{"pool": pool, "connection": conn} {
			for _, opts := range []pgtx.Options{
				{}, {VerifyCommit: true}, {Eager: true}, {TxOptions: pgx.TxOptions{IsoLevel: pgx.Serializable}},
			} {
				opts.IdempotencyKey = strings.Join([]string{mode.String(), name, string(opts.TxOptions.IsoLevel)}, "/")
				if opts.VerifyCommit {
					opts.IdempotencyKey += "verified"
				}
				if opts.Eager {
					opts.IdempotencyKey += "eager"
				}
				// The first fails, and leaves nothing of the key.
				if err := pgtx.RunWith(t.Context(), db, opts, func(context.Context, pgx.Tx) error {
					return errBusiness
				}); !errors.Is(err, errBusiness) {
					t.Fatalf("error is %v", err)
				}
				spent += 10
				want := receipt{Balance: 100 - spent}
				calls, hooks := 0, 0
				for range 3 {
					pay := func(ctx context.Context, tx pgx.Tx) (r receipt, err error) {
						calls++
						err = errors.Join(
							pgtx.AfterCommit(ctx, db, func(context.Context) error { hooks++; return nil }),
							tx.QueryRow(ctx, `update accounts set balance = balance - 10
								where id = $1 returning balance`, 1).Scan(&r.Balance))
						return r, err
					}
					got, err := pgtx.ValueWith(t.Context(), db, opts, pay)
					if err != nil || got != want {
						t.Fatalf("%v on a %s: result is %+v, %v; want %+v", mode, name, got, err, want)
					}
				}
				if err := pgtx.RunWith(t.Context(), db, opts, func(context.Context, pgx.Tx) error {
					calls++
					return nil
				}); err != nil {
					t.Error(err)
				}
				if calls != 1 || hooks != 1 || b.balance(t, 1) != want.Balance {
					t.Fatalf("%v on a %s: %d calls, %d hooks, balance %d; want 1, 1, %d",
						mode, name, calls, hooks, b.balance(t, 1), want.Balance)
				}
			}
		}
	}
}

// One that is in progress is waited for, and takes its key along when it fails.
func TestSameKeyAtTheSameTime(t *testing.T) {
	t.Parallel()
	for _, level := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
		t.Run(string(level), func(t *testing.T) {
			t.Parallel()
			b := setupKeys(t)
			opts := pgtx.Options{IdempotencyKey: "one", TxOptions: pgx.TxOptions{IsoLevel: level}, MaxAttempts: 100}
			var failures atomic.Int32
			var workers sync.WaitGroup
			for range 8 {
				workers.Go(func() {
					for {
						err := pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
							if err := add(ctx, tx, 1, -10); err != nil {
								return err
							}
							if failures.Add(1) <= 3 {
								return errBusiness
							}
							return nil
						})
						if errors.Is(err, errBusiness) {
							continue
						}
						if err != nil {
							t.Error(err)
						}
						return
					}
				})
			}
			workers.Wait()
			if got := b.balance(t, 1); got != 90 || failures.Load() < 4 {
				t.Errorf("balance is %d after %d calls, want 90 after 4 or more", got, failures.Load())
			}
		})
	}
}

// The row answers what became of a broken COMMIT.
func TestKeyResolvesBrokenCommit(t *testing.T) {
	t.Parallel()
	for where, want := range map[fault.Cut]int{fault.BeforeRequest: 2, fault.BeforeAnswer: 1} {
		t.Run(fmt.Sprintf("cut %d", where), func(t *testing.T) {
			t.Parallel()
			b := setupKeys(t)
			_, pool := cutCommit(t, b.url, where)
			calls := 0
			opts := pgtx.Options{IdempotencyKey: "one"}
			got, err := pgtx.ValueWith(t.Context(), pool, opts, func(ctx context.Context, tx pgx.Tx) (int, error) {
				calls++
				return 7, add(ctx, tx, 1, -10)
			})
			if balance := b.balance(t, 1); err != nil || got != 7 || calls != want || balance != 90 {
				t.Errorf("result is %d, %v after %d calls with a balance of %d; want 7 after %d with 90",
					got, err, calls, balance, want)
			}
		})
	}
}

// A result that cannot be kept, or not be read as what is asked for, is an error; the first undoes
// the transaction.
func TestResultThatCannotBeKept(t *testing.T) {
	t.Parallel()
	b := setupKeys(t)
	opts := pgtx.Options{IdempotencyKey: "odd"}
	_, err := pgtx.ValueWith(t.Context(), b.pool, opts, func(ctx context.Context, tx pgx.Tx) (chan int, error) {
		return make(chan int), add(ctx, tx, 1, -10)
	})
	const unsupported = "idempotency key: result: json: unsupported type: chan int"
	if err == nil || !strings.Contains(err.Error(), unsupported) || b.balance(t, 1) != 100 {
		t.Errorf("error is %v with a balance of %d", err, b.balance(t, 1))
	}
	name, err := pgtx.ValueWith(t.Context(), b.pool, opts, func(ctx context.Context, tx pgx.Tx) (string, error) {
		return "name", add(ctx, tx, 1, -10)
	})
	if err != nil || name != "name" {
		t.Fatalf("%q, %v", name, err)
	}
	_, err = pgtx.ValueWith(t.Context(), b.pool, opts, func(context.Context, pgx.Tx) (int, error) {
		t.Error("the function is called again")
		return 0, nil
	})
	const unfit = "stored result: json: cannot unmarshal string"
	if err == nil || !strings.Contains(err.Error(), unfit) || b.balance(t, 1) != 90 {
		t.Errorf("as a number: error is %v with a balance of %d", err, b.balance(t, 1))
	}
}

func TestKeyIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	opts := pgtx.Options{IdempotencyKey: "one"}
	never := func(context.Context, pgx.Tx) error { t.Error("the function is called"); return nil }
	err := pgtx.RunWith(t.Context(), b.pool, opts, never)
	if err == nil || !strings.Contains(err.Error(), "IdempotencyTableSQL") {
		t.Errorf("without the table the error is %v", err)
	}
	if _, err := b.pool.Exec(t.Context(), pgtx.IdempotencyTableSQL); err != nil {
		t.Fatal(err)
	}
	err = pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		return pgtx.RunWith(ctx, b.pool, opts, never)
	})
	if !errors.Is(err, pgtx.ErrOptionConflict) {
		t.Errorf("nested, the error is %v, want ErrOptionConflict", err)
	}
	if err := pgtx.RunWith(t.Context(), b.pool, opts, func(context.Context, pgx.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := pgtx.ValueWith(t.Context(), b.pool, opts, func(context.Context, pgx.Tx) (int, error) {
		return 1, nil
	}); !errors.Is(err, pgtx.ErrNoResult) {
		t.Errorf("without a stored result the error is %v, want ErrNoResult", err)
	}
}
