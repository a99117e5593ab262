package pgpool_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool"
)

// slack is what a busy machine may add to a limit.
const slack = 5 * time.Second

func Test200WorkersOn4Connections(t *testing.T) {
	t.Parallel()
	config := database(t)
	// A connection made under this load may itself take longer than the limit.
	config.MaxConns, config.MinIdleConns = 4, 4
	const most = 100 * time.Millisecond
	pool := connect(t, config, pgpool.WithAcquireTimeout(most))
	var answered, exhausted atomic.Int64
	var group sync.WaitGroup
	for range 200 {
		group.Add(1)
		go func() {
			defer group.Done()
			for range 5 {
				began := time.Now()
				_, err := pool.Exec(t.Context(), `select pg_sleep(0.01)`)
				took := time.Since(began)
				switch {
				case err == nil:
					answered.Add(1)
				case errors.Is(err, pgpool.ErrExhausted) && errors.Is(err, context.DeadlineExceeded) &&
					pgerr.Of(err) == pgerr.Saturated:
					exhausted.Add(1)
				case errors.Is(err, pgpool.ErrNotAnswering): // to a ping, on a machine that is busier than the pool
				default:
					t.Errorf("error is %v, want ErrExhausted", err)
				}
				if took > most+slack {
					t.Errorf("took %s, want about %s", took, most)
				}
			}
		}()
	}
	group.Wait()
	t.Logf("%d answered, %d exhausted", answered.Load(), exhausted.Load())
	if answered.Load() == 0 || exhausted.Load() == 0 {
		t.Errorf("%d answered, %d exhausted; want some of both", answered.Load(), exhausted.Load())
	}
	nothingIsLeft(t, pool)
}

// nothingIsLeft checks that all connections came back and the pool works.
func nothingIsLeft(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	eventually(t, func() bool { return pool.Stat().AcquiredConns() == 0 && pool.Stat().ConstructingConns() == 0 })
	if holders := pgpool.Holders(pool); len(holders) != 0 {
		t.Errorf("holders are left: %v", holders)
	}
	// On a busy machine an answer may take longer than the limit of a test.
	eventually(t, func() bool {
		for range 20 {
			if pool.Ping(t.Context()) != nil {
				return false
			}
		}
		return true
	})
}

// load runs queries on a pool and counts failures by category.
type load struct {
	answers atomic.Int64
	mu      sync.Mutex
	failed  map[pgerr.Category]int
	longest time.Duration
	stop    context.CancelFunc
	group   sync.WaitGroup
}

func start(t *testing.T, pool *pgxpool.Pool, workers int, sql string) *load {
	l := &load{failed: map[pgerr.Category]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	l.stop = cancel
	for range workers {
		l.group.Add(1)
		go func() {
			defer l.group.Done()
			for ctx.Err() == nil {
				began := time.Now()
				_, err := pool.Exec(t.Context(), sql)
				took := time.Since(began)
				l.mu.Lock()
				l.longest = max(l.longest, took)
				if err != nil {
					category := pgerr.Of(err)
					l.failed[category]++
					if category == pgerr.Unknown {
						t.Errorf("an error without a category: %#v: %v", err, err)
					}
				}
				l.mu.Unlock()
				if err == nil {
					l.answers.Add(1)
				} else {
					time.Sleep(time.Millisecond) // a caller that fails does something else first
				}
			}
		}()
	}
	t.Cleanup(func() { cancel(); l.group.Wait() })
	return l
}

// answersAgain waits until some more queries have succeeded.
func (l *load) answersAgain(t *testing.T) {
	t.Helper()
	before := l.answers.Load()
	eventually(t, func() bool { return l.answers.Load() > before+100 })
}

func (l *load) failures() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, count := range l.failed {
		n += count
	}
	return n
}

// end stops the load and checks that no call exceeded its limit.
func (l *load) end(t *testing.T, most time.Duration) {
	t.Helper()
	l.stop()
	l.group.Wait()
	t.Logf("%d answers, failures %v, longest %s", l.answers.Load(), l.failed, l.longest.Round(time.Millisecond))
	if l.longest > most+slack {
		t.Errorf("one call took %s, want at most about %s", l.longest, most)
	}
}

// Connections are reused under load, even while all of them reach their maximum lifetime.
func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 10
	config.MaxConnLifetime, config.MaxConnLifetimeJitter = time.Second, time.Nanosecond // 0 would be a tenth
	pool := connect(t, config)
	began := time.Now()
	l := start(t, pool, 64, `select 1`)
	eventually(t, func() bool { return pool.Stat().NewConnsCount() >= 20 }) // all were replaced
	l.end(t, pgpool.DefaultAcquireTimeout)
	opened := pool.Stat().NewConnsCount()
	if most := 10 * (2 + int64(time.Since(began)/config.MaxConnLifetime)); opened > most || l.failures() != 0 {
		t.Errorf("%d connections were opened for %d acquires, %d failed; want at most %d and none",
			opened, pool.Stat().AcquireCount(), l.failures(), most)
	}
	nothingIsLeft(t, pool)
}

// Only canceling ends the queries; they have no other limit.
func Test1000CancelledQueries(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 16
	config.ConnConfig.RuntimeParams["application_name"] = t.Name()
	pool := connect(t, config, pgpool.WithServerLimits(pgpool.ServerLimits{}), pgpool.WithAcquireTimeout(time.Minute))
	var group sync.WaitGroup
	for range 16 {
		group.Add(1)
		go func() {
			defer group.Done()
			for range 63 {
				conn, err := pool.Acquire(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				_, err = conn.Exec(ctx, `select pg_sleep(60)`)
				cancel()
				conn.Release()
				if !errors.Is(err, context.DeadlineExceeded) || pgerr.Of(err) != pgerr.Timeout {
					t.Errorf("error is %v of category %s, want the deadline's", err, pgerr.Of(err))
				}
			}
		}()
	}
	group.Wait()
	nothingIsLeft(t, pool)
	eventually(t, func() bool {
		var open int
		if err := pool.QueryRow(t.Context(), `select count(*) from pg_stat_activity where application_name = $1`,
			t.Name()).Scan(&open); err != nil {
			t.Error(err)
		}
		return open <= 16
	})
}
