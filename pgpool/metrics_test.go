package pgpool_test

import (
	"sync"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgpool"
)

type recorded struct {
	mu                sync.Mutex
	read              func() pgpool.Gauges
	wait, use, create []time.Duration
	timeouts          int
}

func (r *recorded) Gauges(read func() pgpool.Gauges) { r.read = read }
func (r *recorded) WaitTime(d time.Duration)         { r.add(&r.wait, d) }
func (r *recorded) UseTime(d time.Duration)          { r.add(&r.use, d) }
func (r *recorded) CreateTime(d time.Duration)       { r.add(&r.create, d) }

func (r *recorded) Timeout() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timeouts++
}

func (r *recorded) add(to *[]time.Duration, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*to = append(*to, d)
}

func (r *recorded) counts() (wait, use, create, timeouts int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.wait), len(r.use), len(r.create), r.timeouts
}

// CreateTime counts the connections that the pool opens at its start, but not the attempts before.
func TestConnectionsOfTheStartAreCounted(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns, config.MinIdleConns = 3, 3
	var m recorded
	connect(t, config, pgpool.WithMetrics(&m))
	if _, _, create, _ := m.counts(); create != 3 {
		t.Errorf("%d connections were counted, want 3", create)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns, config.MinIdleConns = 2, 0
	var m recorded
	pool := connect(t, config, pgpool.WithMetrics(&m), pgpool.WithAcquireTimeout(2*time.Second))
	if got := m.read(); got != (pgpool.Gauges{Max: 2, IdleMax: 2}) {
		t.Errorf("at first %+v", got)
	}
	first, second := acquire(t, pool), acquire(t, pool)
	waiting := make(chan error)
	go func() { _, err := pool.Exec(t.Context(), `select 1`); waiting <- err }()
	eventually(t, func() bool {
		got := m.read()
		return got.Used == 2 && got.PendingRequests == 1
	})
	if err := <-waiting; err == nil {
		t.Fatal("acquired a third of two")
	}
	if _, err := first.Exec(t.Context(), `select pg_sleep(0.05)`); err != nil {
		t.Fatal(err)
	}
	first.Release()
	second.Release()
	if got := m.read(); got != (pgpool.Gauges{Idle: 2, Max: 2, IdleMax: 2}) {
		t.Errorf("at last %+v", got)
	}
	if wait, use, create, timeouts := m.counts(); wait != 2 || use != 2 || create != 2 || timeouts != 1 {
		t.Errorf("%d waits, %d uses, %d created, %d timeouts; want 2, 2, 2, 1", wait, use, create, timeouts)
	}
	if m.use[0] < 50*time.Millisecond || m.create[0] <= 0 || m.wait[0] <= 0 {
		t.Errorf("use %s, create %s, wait %s", m.use[0], m.create[0], m.wait[0])
	}
	pool.Close()
	if got := m.read(); got.Idle != 0 {
		t.Errorf("after closing %+v", got)
	}
}
