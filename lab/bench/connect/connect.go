// Package connect measures how a pool comes up, and how often an acquire gets a connection that is
// already there.
package connect

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// Comparison measures Connect on a server that runs, and on one that starts 3 s later.
var Comparison = harness.Comparison{
	Name: "connect", Rounds: 20, Run: run,
	Reasons: []harness.Reason{{
		Table: `^From nothing to a pool`, Side: `^pgpool`,
		Why: "Connect makes three connections where the peer makes one: one that finds out whether the server can be " +
			"used, and is closed again, and two idle ones, so that the first requests find them.",
	}},
}

// Reuse counts, under load, the acquires that got a connection that was there.
var Reuse = harness.Comparison{Name: "reuse", Rounds: 8, Run: reuse}

var quiet = pgpool.WithLogger(slog.New(slog.DiscardHandler))

func run(ctx context.Context, r *harness.Report, rounds int) error {
	url, drop, err := harness.Database(ctx)
	if err != nil {
		return err
	}
	defer drop()
	cfg, err := pgconfig.Parse(url)
	if err != nil {
		return err
	}
	cfg.MinIdleConns, cfg.MaxConns = 2, 10 // as in production
	err = r.Compare(ctx, "From nothing to a pool that has answered, and closed again", rounds, 5,
		harness.Side{Name: "pgxpool, one ping", Op: func(ctx context.Context) error {
			pool, err := pgxpool.New(ctx, url)
			if err != nil {
				return err
			}
			defer pool.Close()
			return pool.Ping(ctx)
		}},
		harness.Side{Name: "pgpool.Connect, two idle connections", Op: func(ctx context.Context) error {
			pool, err := pgpool.Connect(ctx, cfg, quiet)
			if err == nil {
				pool.Close()
			}
			return err
		}},
	)
	if err != nil {
		return err
	}
	var after []time.Duration
	for range min(rounds, 5) {
		took, err := connectLate(ctx, url)
		if err != nil {
			return err
		}
		after = append(after, took)
	}
	r.Printf("\nA server that starts 3 s late: the pool is ready %s (median) and %s (worst of %d) after it accepts\n",
		harness.Short(harness.Quantile(after, 0.5)), harness.Short(harness.Quantile(after, 1)), len(after))
	return nil
}

// connectLate returns the time from the server's first accept until the pool is ready.
func connectLate(ctx context.Context, url string) (took time.Duration, err error) {
	t := &harness.Test{Ctx: ctx}
	err = t.Run(func() error {
		p := fault.NewProxy(t, url, fault.Options{})
		p.Refuse()
		cfg, err := harness.PoolConfig(p.URL())
		if err != nil {
			return err
		}
		cfg.MinIdleConns = 2
		accepts := make(chan time.Time, 1)
		timer := time.AfterFunc(3*time.Second, func() {
			accepts <- time.Now()
			p.Heal()
		})
		defer timer.Stop()
		pool, err := pgpool.ConnectConfig(ctx, cfg, quiet)
		if err != nil {
			return err
		}
		took = time.Since(<-accepts)
		pool.Close()
		return nil
	})
	return took, err
}

// reuse has 64 workers, for 2 s a round, a lifetime that turns all connections over, and one
// restart of the server in between.
func reuse(ctx context.Context, r *harness.Report, rounds int) error {
	server, err := harness.StartServer(ctx, nil)
	if err != nil {
		return err
	}
	defer server.Remove()
	cfg, err := harness.PoolConfig(server.URL)
	if err != nil {
		return err
	}
	cfg.MaxConns, cfg.MaxConnLifetime, cfg.MaxConnLifetimeJitter = 10, 5*time.Second, 2*time.Second
	pool, err := pgpool.ConnectConfig(ctx, cfg, quiet)
	if err != nil {
		return err
	}
	defer pool.Close()
	length := time.Duration(rounds) * 2 * time.Second
	running, stop := context.WithTimeout(ctx, length)
	defer stop()
	var answers, failures atomic.Int64
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			for running.Err() == nil {
				if _, err := pool.Exec(ctx, "select 1"); err != nil {
					failures.Add(1)
					time.Sleep(10 * time.Millisecond) // like a client that backs off
				} else {
					answers.Add(1)
				}
			}
		})
	}
	select {
	case <-running.Done():
	case <-time.After(length / 2):
	}
	err = server.Restart()
	group.Wait()
	opened, acquired := pool.Stat().NewConnsCount(), pool.Stat().AcquireCount()
	if err != nil || acquired == 0 {
		return fmt.Errorf("%d acquires: %w", acquired, err)
	}
	r.Printf("\nReuse with 64 workers on 10 connections for %s, %s, lifetime 5–7 s, one restart: %.3f %% of %d acquires "+
		"(%d opened, %d answers, %d failures)\n", length, harness.Cores(),
		100*(1-float64(opened)/float64(acquired)), acquired, opened, answers.Load(), failures.Load())
	return nil
}
