package pgpool_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// The cost of an error that names holders does not depend on their statements. Work in proportion
// to their size took minutes here. The test is not parallel because it measures time.
func TestErrorPathDoesNotDependOnTheSizeOfStatements(t *testing.T) {
	const waiters, limit = 200, 200 * time.Millisecond
	config := database(t)
	config.MaxConns, config.MinIdleConns = 10, 10 // to connect may take longer than the limit
	pool := connect(t, config, pgpool.WithAcquireTimeout(limit))
	statement := `select length('` + strings.Repeat("x", 1<<20) + `')`
	for range config.MaxConns {
		if _, err := acquire(t, pool).Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	var running sync.WaitGroup
	took := make(chan time.Duration, waiters)
	for range waiters {
		running.Go(func() {
			began := time.Now()
			_, err := pool.Acquire(context.Background())
			text := fmt.Sprint(err)
			took <- time.Since(began)
			if !errors.Is(err, pgpool.ErrExhausted) || len(text) > 1000 {
				t.Errorf("error of %d bytes, want ErrExhausted in at most 1000", len(text))
			}
		})
	}
	running.Wait()
	close(took)
	var slowest time.Duration
	for d := range took {
		slowest = max(slowest, d)
	}
	t.Logf("the slowest of %d waiters failed after %s", waiters, slowest)
	if slowest > limit+time.Second {
		t.Errorf("the slowest of %d waiters failed after %s, want about %s", waiters, slowest, limit)
	}
}

// A caller whose deadline had passed before the call has not waited.
func TestDeadlineBeforeTheCallIsNoExhaustion(t *testing.T) {
	t.Parallel()
	pool := connect(t, database(t))
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	_, err := pool.Acquire(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, pgpool.ErrExhausted) ||
		errors.Is(err, pgpool.ErrNotAnswering) {
		t.Errorf("error is %v, want the deadline's only", err)
	}
}

// A frozen server does not answer on idle connections. The pool is not busy then, neither for
// callers that have a connection nor for callers in line behind them.
func TestFrozenServerIsNoExhaustion(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 2
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return true } // as if idle for a second
	p := through(t, config, fault.Options{})
	pool := connect(t, config, pgpool.WithAcquireTimeout(limit))
	first, second := acquire(t, pool), acquire(t, pool)
	first.Release()
	second.Release()
	p.Freeze(fault.Both)
	var running sync.WaitGroup
	for range 6 {
		running.Go(func() {
			if _, err := pool.Acquire(context.Background()); !errors.Is(err, pgpool.ErrNotAnswering) {
				t.Errorf("error is %v, want ErrNotAnswering", err)
			}
		})
	}
	running.Wait()
}

// One connection that is being made does not turn a busy pool into a server that does not answer.
func TestBusyPoolThatGrowsIsExhausted(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 4
	p := through(t, config, fault.Options{})
	pool := connect(t, config, pgpool.WithAcquireTimeout(limit))
	for range 3 {
		acquire(t, pool)
	}
	p.Freeze(fault.Both) // the fourth connect never ends
	var running sync.WaitGroup
	kinds := make(chan error, 5)
	for range 5 {
		running.Go(func() {
			_, err := pool.Acquire(context.Background())
			kinds <- err
		})
	}
	running.Wait()
	close(kinds)
	exhausted, silent := 0, 0
	for err := range kinds {
		switch {
		case errors.Is(err, pgpool.ErrExhausted):
			exhausted++
		case errors.Is(err, pgpool.ErrNotAnswering):
			silent++
		}
	}
	if exhausted != 4 || silent != 1 {
		t.Errorf("%d found the pool exhausted and %d the server silent, want 4 in line and 1 that connects",
			exhausted, silent)
	}
}

// A caller that gives up while it waits gets its own error at once.
func TestWaitingCallerCanGiveUp(t *testing.T) {
	t.Parallel()
	pool := exhausted(t, pgpool.WithAcquireTimeout(time.Hour))
	ctx, cancel := context.WithCancelCause(t.Context())
	result := make(chan error, 1)
	go func() { _, err := pool.Acquire(ctx); result <- err }()
	eventually(t, func() bool { return pool.Stat().EmptyAcquireCount() >= 0 && len(pgpool.Holders(pool)) == 2 })
	cancel(errors.New("the visitor left"))
	select {
	case err := <-result:
		if !errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v, want context.Canceled", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("still in line")
	}
}
