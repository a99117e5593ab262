package pgmigrate_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/tern/v2/migrate"

	"github.com/page-builder/persistence/pgmigrate"
)

// TestAvailability measures the longest stall of 500 queries a second on a table while a migration
// that needs ACCESS EXCLUSIVE meets a long transaction, by this package and by tern alone.
// PGMIGRATE_AVAILABILITY=30s is the measurement, with the default lock timeout. The everyday run
// only expects a difference, also on a busy machine.
func TestAvailability(t *testing.T) {
	long, lockTimeout, margin := 8*time.Second, 200*time.Millisecond, 3800*time.Millisecond
	if s := os.Getenv("PGMIGRATE_AVAILABILITY"); s != "" {
		var err error
		if long, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
		lockTimeout, margin = pgmigrate.DefaultLockTimeout, 100*time.Millisecond
	} else {
		t.Parallel()
	}
	ours := stall(t, long, func(ctx context.Context, b *bench) error {
		_, err := migrator(t, b, three(), pgmigrate.WithLockTimeout(lockTimeout)).To(ctx, 2)
		return err
	})
	tern := stall(t, long, func(ctx context.Context, b *bench) error {
		conn, err := pgx.ConnectConfig(ctx, b.config)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		m, err := migrate.NewMigrator(ctx, conn, pgmigrate.DefaultVersionTable)
		if err != nil {
			return err
		}
		if err := m.LoadMigrations(three()); err != nil {
			return err
		}
		return m.MigrateTo(ctx, 2)
	})
	t.Logf("transaction %s, lock_timeout %s: longest stall with pgmigrate %s, with tern %s",
		long, lockTimeout, ours, tern)
	if ours > lockTimeout+margin {
		t.Errorf("longest stall %s, want at most %s", ours, lockTimeout+margin)
	}
	if tern < long/2 {
		t.Errorf("tern's longest stall is %s: the transaction did not block it, so nothing was measured", tern)
	}
}

// stall returns the longest time from when a query was due to its end.
func stall(t *testing.T, long time.Duration, run func(context.Context, *bench) error) time.Duration {
	t.Helper()
	b := setup(t)
	if _, err := migrator(t, b, firstTwo()).To(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	poolConfig, err := pgxpool.ParseConfig("")
	if err != nil {
		t.Fatal(err)
	}
	poolConfig.ConnConfig = b.config.Copy()
	poolConfig.MaxConns, poolConfig.MinConns = 40, 40
	pool, err := pgxpool.NewWithConfig(t.Context(), poolConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for pool.Stat().IdleConns() < 40 {
		if err := pool.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	tx, err := b.connect(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "select * from pages"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- run(t.Context(), b) }()
	committed := make(chan struct{})
	time.AfterFunc(long, func() {
		defer close(committed)
		tx.Commit(context.WithoutCancel(t.Context()))
	})
	defer func() { <-committed }()

	var mu sync.Mutex
	var longest time.Duration
	var wg sync.WaitGroup
	tick := time.NewTicker(time.Second / 500)
	defer tick.Stop()
	for running := true; running; {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			running = false
		case due := <-tick.C:
			wg.Go(func() {
				var n int
				if err := pool.QueryRow(t.Context(), "select count(*) from pages").Scan(&n); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				longest = max(longest, time.Since(due))
			})
		}
	}
	wg.Wait()
	return longest
}
