package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// healths compares pghealth with what else tells a load balancer whether there is a database: what
// a probe costs alone and beside a busy pool, what a flood of probes costs the server, and what is
// answered when the server is frozen or the application uses all connections of its pool.
func healths(ctx context.Context, r *report, rounds int) error {
	url, drop, err := database(ctx)
	if err != nil {
		return err
	}
	defer drop()
	if err := probeTimes(ctx, r, url, rounds); err != nil {
		return err
	}
	server, err := startServer(ctx)
	if err != nil {
		return err
	}
	defer server.remove()
	if err := probeFloods(ctx, r, server, 64); err != nil {
		return err
	}
	_, err = probeFaults(ctx, r, server, 4)
	return err
}

// probeTimes measures probes one after another, alone and beside callers that use each connection
// of the pool.
func probeTimes(ctx context.Context, r *report, url string, rounds int) error {
	const connections = 8
	pool, err := configured(ctx, url, func(c *pgxpool.Config) { c.MaxConns = connections })
	if err != nil {
		return err
	}
	defer pool.Close()
	var others atomic.Int64 // answers that were not 200
	sides := make([]side, len(probers))
	for i, p := range probers {
		handler, end, err := p.open(url, pool)
		if err != nil {
			return err
		}
		defer end()
		sides[i] = side{p.name, func(context.Context) error {
			if ask(handler) != http.StatusOK {
				others.Add(1)
			}
			return nil
		}}
	}
	if err := compare(ctx, r, "A probe request", rounds, 10, sides...); err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	var load sync.WaitGroup
	for range 2 * connections {
		load.Go(func() {
			for running.Err() == nil {
				_, _ = pool.Exec(running, "select pg_sleep(0.005)")
			}
		})
	}
	err = compare(ctx, r, fmt.Sprintf("A probe request, %d callers with queries of 5 ms on the pool's %d connections",
		2*connections, connections), rounds, 10, sides...)
	stop()
	load.Wait()
	r.printf("\n%d of these answers were not 200\n", others.Load())
	return err
}

// probeAnswers are those to probes that were sent at once.
type probeAnswers struct {
	codes map[int]int
	times []time.Duration
}

// askAtOnce sends times probes in a row from each of many callers.
func askAtOnce(handler http.Handler, callers, times int) probeAnswers {
	a := probeAnswers{codes: map[int]int{}}
	var mu sync.Mutex
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for range times {
				began := time.Now()
				code := ask(handler)
				took := time.Since(began)
				mu.Lock()
				a.codes[code]++
				a.times = append(a.times, took)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return a
}

func (a probeAnswers) String() string {
	said := make([]string, 0, len(a.codes))
	for _, code := range slices.Sorted(maps.Keys(a.codes)) {
		said = append(said, fmt.Sprintf("%d × %d", a.codes[code], code))
	}
	return strings.Join(said, ", ")
}
