package pgpool_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgpool"
)

func TestShutdownOfIdlePool(t *testing.T) {
	t.Parallel()
	pool := connect(t, database(t))
	for range 2 { // the second finds nothing to do
		if err := pgpool.Shutdown(t.Context(), pool); err != nil {
			t.Fatal(err)
		}
	}
	if err := pool.Ping(t.Context()); err == nil {
		t.Error("the pool still hands out connections")
	}
	if err := pgpool.Shutdown(t.Context(), nil); err != nil {
		t.Errorf("nil pool: %v", err)
	}
}

func TestShutdownWaitsForHolders(t *testing.T) {
	t.Parallel()
	pool := connect(t, database(t))
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { result <- pgpool.Shutdown(context.Background(), pool) }()
	// Shutdown has begun when the pool hands out no connection. Held connections still work.
	for pool.Ping(t.Context()) == nil {
	}
	if _, err := conn.Exec(t.Context(), `select 1`); err != nil {
		t.Errorf("the holder was disturbed: %v", err)
	}
	select {
	case err := <-result:
		t.Errorf("Shutdown returned %v before the holder released", err)
	default:
	}
	conn.Release()
	if err := <-result; err != nil {
		t.Errorf("Shutdown returned %v, want nil", err)
	}
}

// Shutdown names a holder that never releases and closes its socket: its query returns, and its
// session on the server ends.
func TestShutdownNamesHoldersAndClosesTheirSockets(t *testing.T) {
	t.Parallel()
	pool := connect(t, database(t))
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pid := conn.Conn().PgConn().PID()
	query := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), `select pg_sleep(60)`)
		query <- err
		conn.Release() // ends the goroutine that closes the pool: goleak checks it
	}()
	eventually(t, func() bool { return pgpool.Holders(pool)[0].SQL != "" })

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	err = pgpool.Shutdown(ctx, pool)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("took %s, want about 50ms", took)
	}
	var left *pgpool.ShutdownError
	if !errors.As(err, &left) || left.InUse != 1 || len(left.Holders) != 1 || left.Holders[0].PID != pid {
		t.Fatalf("error is %#v, want one holder, pid %d", err, pid)
	}
	for _, want := range []string{"1 connection was still in use", "select pg_sleep(60)", "pid "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error is %q, want %q in it", err, want)
		}
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v, want the deadline", err)
	}
	select {
	case err := <-query:
		if err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("the query returned %v, want a broken connection", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the query under way did not return")
	}
}

func TestShutdownNamesAllHolders(t *testing.T) {
	t.Parallel()
	pool := connect(t, database(t))
	for _, sql := range []string{`select 1 as first`, `select 2 as second`} {
		if _, err := acquire(t, pool).Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	err := pgpool.Shutdown(canceled(t), pool)
	if err == nil || !strings.Contains(err.Error(), "2 connections were still in use: context canceled") {
		t.Fatalf("error is %v, want both", err)
	}
	if first, second := strings.Index(err.Error(), `first; `), strings.Index(err.Error(), `second`); first < 0 ||
		second < first {
		t.Errorf("error is %q, want the oldest first", err)
	}
}

func TestShutdownOfAnotherPackagesPool(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.NewWithConfig(t.Context(), database(t))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if pgpool.Holders(pool) != nil {
		t.Error("holders of a pool that nobody observes")
	}
	err = pgpool.Shutdown(canceled(t), pool)
	var left *pgpool.ShutdownError
	if !errors.As(err, &left) || left.InUse != 1 || left.Holders != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want one in use", err)
	}
	conn.Release()
	if err := pgpool.Shutdown(t.Context(), pool); err != nil {
		t.Error(err)
	}
}
