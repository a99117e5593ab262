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

// The keys are a contract between programs of different versions: these never change. They were
// computed by another implementation of FNV-1a.
func TestKeyOfIsFrozen(t *testing.T) {
	t.Parallel()
	tests := []struct {
		namespace, name string
		want            pgtx.LockKey
	}{
		{"", "", -5808590958014384161},
		{"a", "", 620337896427418084},
		{"pages", "1", 44356082348842900},
		{"pages", "héllo", 3349024384655735064},
		{"billing", "invoice/2024-01", 354095573532378776},
	}
	for _, tt := range tests {
		if got := pgtx.KeyOf(tt.namespace, tt.name); got != tt.want {
			t.Errorf("KeyOf(%q, %q) = %d, want %d", tt.namespace, tt.name, got, tt.want)
		}
	}
	if pgtx.KeyOf("ab", "c") == pgtx.KeyOf("a", "bc") {
		t.Error("the border between namespace and name does not count")
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	key, other := pgtx.KeyOf("pages", "1"), pgtx.KeyOf("pages", "2")
	shared := pgtx.LockOptions{Shared: true}
	tests := []struct {
		name   string
		held   pgtx.LockOptions
		wanted pgtx.LockOptions
		keys   []pgtx.LockKey
		free   bool
	}{
		{"exclusive, exclusive", pgtx.LockOptions{}, pgtx.LockOptions{}, []pgtx.LockKey{key}, false},
		{"exclusive, shared", pgtx.LockOptions{}, shared, []pgtx.LockKey{key}, false},
		{"shared, exclusive", shared, pgtx.LockOptions{}, []pgtx.LockKey{key}, false},
		{"shared, shared", shared, shared, []pgtx.LockKey{key}, true},
		{"another key", pgtx.LockOptions{}, pgtx.LockOptions{}, []pgtx.LockKey{other}, true},
		{"one of several", pgtx.LockOptions{}, pgtx.LockOptions{}, []pgtx.LockKey{other, key, other}, false},
		{"no key", pgtx.LockOptions{}, pgtx.LockOptions{}, nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
				if err := pgtx.Lock(ctx, tx, tt.held, key); err != nil {
					return err
				}
				return pgtx.RunWith(ctx, b.pool, pgtx.Options{Nesting: pgtx.Separate},
					func(ctx context.Context, tx pgx.Tx) error {
						free, err := pgtx.TryLock(ctx, tx, tt.wanted, tt.keys...)
						if err != nil || free != tt.free {
							t.Errorf("try: %v, %v, want %v", free, err, tt.free)
						}
						var left int
						if err := tx.QueryRow(ctx, `select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()`).Scan(&left); err != nil {
							return err
						}
						if !tt.free && left != 0 {
							t.Errorf("%d locks are held after a try that failed", left)
						}
						tt.wanted.Timeout = 10 * time.Millisecond
						err = pgtx.Lock(ctx, tx, tt.wanted, tt.keys...)
						if errors.Is(err, pgtx.ErrLockTimeout) == tt.free || (err == nil) != tt.free {
							t.Errorf("lock: %v, want success: %v", err, tt.free)
						}
						var pgError *pgconn.PgError
						if !tt.free && (!errors.As(err, &pgError) || pgError.Code != "55P03") {
							t.Errorf("lock: %v, want SQLSTATE 55P03", err)
						}
						var timeout string
						if err == nil {
							err = tx.QueryRow(ctx, `show lock_timeout`).Scan(&timeout)
							if timeout != "0" {
								t.Errorf("lock_timeout is %s afterwards, want 0", timeout)
							}
							return err
						}
						return nil
					})
			})
			var swallowed *pgtx.SwallowedError
			if tt.free && err != nil || !tt.free && !errors.As(err, &swallowed) {
				t.Error(err)
			}
		})
	}
}

// Without a timeout of its own Lock has that in force, and with a negative one none.
func TestLockTimeoutInForce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		if err := pgtx.Lock(ctx, tx, pgtx.LockOptions{}, 1); err != nil {
			return err
		}
		impatient := pgtx.Options{Nesting: pgtx.Separate, LockTimeout: 10 * time.Millisecond}
		err := pgtx.RunWith(ctx, b.pool, impatient, func(ctx context.Context, tx pgx.Tx) error {
			return pgtx.Lock(ctx, tx, pgtx.LockOptions{}, 1)
		})
		if !errors.Is(err, pgtx.ErrLockTimeout) {
			t.Errorf("lock: %v, want ErrLockTimeout", err)
		}
		return pgtx.RunWith(ctx, b.pool, impatient, func(ctx context.Context, tx pgx.Tx) error {
			if err := pgtx.Lock(ctx, tx, pgtx.LockOptions{Timeout: -1}, 2); err != nil {
				return err
			}
			var inForce string
			err := tx.QueryRow(ctx, `select current_setting('lock_timeout')`).Scan(&inForce)
			if inForce != "10ms" {
				t.Errorf("lock_timeout is %s afterwards, want 10ms", inForce)
			}
			return err
		})
	})
	if err != nil {
		t.Error(err)
	}
}

// Two transactions that name the same keys in opposite order do not deadlock.
func TestLockOrdersKeys(t *testing.T) {
	t.Parallel()
	b := setup(t)
	done := make(chan error, 2)
	for _, keys := range [][]pgtx.LockKey{{1, -2, 3}, {3, -2, 1}} {
		go func() {
			for range 50 {
				if err := pgtx.RunWith(t.Context(), b.pool, pgtx.Options{MaxAttempts: 1},
					func(ctx context.Context, tx pgx.Tx) error {
						return pgtx.Lock(ctx, tx, pgtx.LockOptions{}, keys...)
					}); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestLockRidesWithBegin(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pool, flushes := countFlushes(t, b.url, pgx.QueryExecModeCacheStatement)
	for range 2 {
		flushes.Store(0)
		if err := pgtx.Run(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			return pgtx.Lock(ctx, tx, pgtx.LockOptions{}, 1)
		}); err != nil {
			t.Fatal(err)
		}
	}
	if got := flushes.Load(); got != 2 {
		t.Errorf("took %d flushes, want 2", got)
	}
}
