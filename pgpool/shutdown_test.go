package pgpool_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

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
	// Shutdown has begun when the pool hands out nothing any more; what is held still works.
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

func TestShutdownDoesNotWaitBeyondContext(t *testing.T) {
	t.Parallel()
	pool := connect(t, database(t))
	leaked, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	err = pgpool.Shutdown(ctx, pool)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("took %s, want about 50ms", took)
	}
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 connection is still in use") {
		t.Errorf("error is %v, want the deadline and the number of holders", err)
	}
	leaked.Release() // ends the goroutine that closes the pool: goleak checks it
}
