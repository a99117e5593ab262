package pghealth_test

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// dialed sends to dials whenever a connection is opened.
func dialed(dials chan<- struct{}) func(*pgxpool.Config) {
	return func(cfg *pgxpool.Config) {
		dial := cfg.ConnConfig.DialFunc
		cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials <- struct{}{}
			return dial(ctx, network, addr)
		}
	}
}

// versionCounter counts the times it is asked, and how many at once.
type versionCounter struct {
	mu                 sync.Mutex
	calls, now, atOnce int
	hold               chan struct{} // received from in each call
}

func (v *versionCounter) SchemaVersion(ctx context.Context, conn *pgx.Conn) (current, needed int64, dirty bool,
	err error,
) {
	v.mu.Lock()
	v.calls++
	v.now++
	v.atOnce = max(v.atOnce, v.now)
	v.mu.Unlock()
	defer func() {
		v.mu.Lock()
		v.now--
		v.mu.Unlock()
	}()
	select {
	case <-v.hold:
	case <-ctx.Done():
	}
	_, err = conn.Exec(ctx, "select pg_sleep(0.001)")
	return 0, 0, false, err
}

// A flood of callers gets by with one connection and one query.
func TestFloodOfProbes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		maxAge   time.Duration
		maxCalls int
	}{
		"cached":        {time.Hour, 1},
		"single flight": {-1, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dials := make(chan struct{}, 1000)
			pool := newPool(t, pgserver.Database(t), dialed(dials))
			schema := &versionCounter{hold: make(chan struct{})}
			close(schema.hold)
			probe, _ := newProbe(t, pool, pghealth.Options{
				MaxAge: test.maxAge, Schema: schema,
				Timeout: 20 * time.Second,
			})
			ready := probe.Ready()
			var wait sync.WaitGroup
			for range 50 {
				wait.Go(func() {
					for range 20 {
						if r := get(t, pool, ready); r.code != http.StatusOK {
							t.Error(r.body)
						}
					}
				})
			}
			wait.Wait()
			if len(dials) != 1 {
				t.Errorf("%d connections", len(dials))
			}
			if schema.calls < 1 || schema.calls > test.maxCalls || schema.atOnce != 1 {
				t.Errorf("%d queries for 1000 probes, %d at once", schema.calls, schema.atOnce)
			}
		})
	}
}

// Callers that arrive during a query share its result.
func TestProbesShareTheRunningQuery(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	schema := &versionCounter{hold: make(chan struct{})}
	probe, _ := newProbe(t, pool, pghealth.Options{Schema: schema, Timeout: 20 * time.Second})
	ready := probe.Ready()
	const callers = 20
	entered := make(chan struct{}, callers)
	var wait sync.WaitGroup
	for range callers {
		wait.Go(func() {
			entered <- struct{}{}
			get(t, pool, ready)
		})
	}
	for range callers {
		<-entered
	}
	schema.hold <- struct{}{} // the first call has begun
	close(schema.hold)
	wait.Wait()
	if schema.atOnce != 1 || schema.calls >= callers {
		t.Errorf("%d queries for %d probes, %d at once", schema.calls, callers, schema.atOnce)
	}
}

// A timer that fires just after the answer does not replace it.
func TestAnswerBeatsTheTimer(t *testing.T) {
	t.Parallel()
	probe, log := newProbe(t, newPool(t, pgserver.Database(t)), pghealth.Options{})
	if got := probe.RecordLate(); got != "pass" || log.String() != "" {
		t.Errorf("%s, logged %s", got, log)
	}
}
