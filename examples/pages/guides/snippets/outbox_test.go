//go:build guides

package snippets_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgtest"
	"github.com/page-builder/persistence/pgtx"
)

// These tests check the code in docs/durable-work.md. A message is delivered if, and only if, its
// transaction committed.
func TestOutboxDelivers(t *testing.T) {
	t.Parallel()
	pool, cfg := outbox(t)
	ctx, stop := context.WithCancel(t.Context())
	sent := make(chan string, 10)
	var worker sync.WaitGroup
	worker.Go(func() {
		err := deliverAll(ctx, pool, cfg, func(_ context.Context, m message) error {
			sent <- string(m.Payload)
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("deliverAll: %v", err)
		}
	})
	defer worker.Wait()
	defer stop()
	errUndone := errors.New("undone")
	write := func(order int, outcome error) error {
		return pgtx.Run(t.Context(), pool, func(ctx context.Context, _ pgx.Tx) error {
			return errors.Join(post(ctx, pool, "order", order), outcome)
		})
	}
	for order := range 6 {
		var outcome error
		if order%2 == 0 {
			outcome = errUndone
		}
		if err := write(order, outcome); !errors.Is(err, outcome) {
			t.Fatal(err)
		}
		if order%2 == 0 {
			continue
		}
		select {
		case got := <-sent:
			if want := string(rune('0' + order)); got != want {
				t.Errorf("delivered %s, want %s", got, want)
			}
		case <-time.After(pollEvery / 2):
			t.Fatal("the notification did not wake the worker")
		}
	}
}

// A message that cannot be sent is due again later, and says why.
func TestOutboxTriesAgain(t *testing.T) {
	t.Parallel()
	pool, _ := outbox(t)
	if err := post(t.Context(), pool, "mail", "hello"); err != nil {
		t.Fatal(err)
	}
	calls := 0
	refuse := func(context.Context, message) error {
		calls++
		return errors.New("mailbox full")
	}
	for _, want := range []bool{true, false} { // at once it is not due
		if found, err := deliver(t.Context(), pool, refuse); found != want || err != nil && !want {
			t.Fatal(found, err)
		}
	}
	var attempts int
	var reason string
	var wait time.Duration
	if err := pool.QueryRow(t.Context(), "select attempts, last_error, due_at - created_at from outbox").
		Scan(&attempts, &reason, &wait); err != nil {
		t.Fatal(err)
	}
	if calls != 1 || attempts != 1 || reason != "mailbox full" || wait < time.Second || wait > lease {
		t.Errorf("%d calls, %d attempts, %q, due after %v", calls, attempts, reason, wait)
	}
	if _, err := pool.Exec(t.Context(), "update outbox set due_at = now()"); err != nil {
		t.Fatal(err)
	}
	found, err := deliver(t.Context(), pool, func(_ context.Context, m message) error {
		if m.Attempts != 2 {
			t.Errorf("attempt %d", m.Attempts)
		}
		return nil
	})
	if !found || err != nil {
		t.Fatal(found, err)
	}
	if left := count(t, pool); left != 0 {
		t.Errorf("%d messages are left", left)
	}
}

// If a worker dies, another one delivers its message when the lease ends.
func TestOutboxOfADeadWorker(t *testing.T) {
	t.Parallel()
	pool, _ := outbox(t)
	if err := post(t.Context(), pool, "mail", "hello"); err != nil {
		t.Fatal(err)
	}
	ctx, die := context.WithCancel(t.Context())
	if _, err := deliver(ctx, pool, func(context.Context, message) error {
		die()
		return ctx.Err()
	}); err == nil {
		t.Error("a dead worker has no error")
	}
	if left := count(t, pool); left != 1 {
		t.Fatalf("%d messages are left", left)
	}
	var wait time.Duration
	if err := pool.QueryRow(t.Context(), "select due_at - created_at from outbox").Scan(&wait); err != nil {
		t.Fatal(err)
	}
	if wait < lease || wait > 2*lease {
		t.Errorf("due after %v", wait)
	}
}

// Many workers deliver each message once if nothing fails.
func TestOutboxWithManyWorkers(t *testing.T) {
	t.Parallel()
	pool, _ := outbox(t)
	const messages = 100
	for number := range messages {
		if err := post(t.Context(), pool, "n", number); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	seen := map[int64]int{}
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for {
				found, err := deliver(t.Context(), pool, func(_ context.Context, m message) error {
					mu.Lock()
					defer mu.Unlock()
					seen[m.ID]++
					return nil
				})
				if err != nil {
					t.Error(err)
				}
				if !found || err != nil {
					return
				}
			}
		})
	}
	workers.Wait()
	if left := count(t, pool); len(seen) != messages || left != 0 {
		t.Errorf("%d delivered, %d left", len(seen), left)
	}
	for id, times := range seen {
		if times != 1 {
			t.Errorf("message %d was sent %d times", id, times)
		}
	}
}

// outbox returns a database with the guide's migration.
func outbox(t *testing.T) (*pgxpool.Pool, pgconfig.Config) {
	t.Helper()
	guide, err := os.ReadFile("../../../../docs/durable-work.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(guide), "-- migrations/009_outbox.sql\n")
	up, _, ended := strings.Cut(rest, "---- create above / drop below ----")
	if !found || !ended {
		t.Fatal("the guide has no migration")
	}
	pool := pgtest.New(t)
	if _, err := pool.Exec(t.Context(), up); err != nil {
		t.Fatal(err)
	}
	cfg, err := pgconfig.LoadFrom(pgconfig.Source{
		Environ: map[string]string{"DATABASE_URL": pool.Config().ConnString()},
	})
	if err != nil {
		t.Fatal(err)
	}
	return pool, cfg
}

func count(t *testing.T, pool *pgxpool.Pool) (n int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), "select count(*) from outbox").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
