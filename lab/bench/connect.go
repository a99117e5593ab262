package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
	faultkit "github.com/page-builder/persistence/pgtest/pgserver/fault"
)

var quiet = pgpool.WithLogger(slog.New(slog.DiscardHandler))

// connects measures Connect on a server that runs, and on one that starts 3 s later.
func connects(ctx context.Context, r *report, rounds int) error {
	url, drop, err := database(ctx)
	if err != nil {
		return err
	}
	defer drop()
	cfg, err := pgconfig.Parse(url)
	if err != nil {
		return err
	}
	cfg.MinIdleConns, cfg.MaxConns = 2, 10 // as in production
	err = compare(ctx, r, "From nothing to a pool that has answered, and closed again", rounds, 5,
		side{"pgxpool, one ping", func(ctx context.Context) error {
			pool, err := pgxpool.New(ctx, url)
			if err != nil {
				return err
			}
			defer pool.Close()
			return pool.Ping(ctx)
		}},
		side{"pgpool.Connect, two idle connections", func(ctx context.Context) error {
			pool, err := pgpool.Connect(ctx, cfg, quiet)
			if err != nil {
				return err
			}
			pool.Close()
			return nil
		}},
	)
	if err != nil {
		return err
	}
	return late(ctx, r, url, min(rounds, 5))
}

// late prints how long after the first accept of a server that starts 3 s late a pool is there.
func late(ctx context.Context, r *report, url string, rounds int) error {
	var after []time.Duration
	for range rounds {
		took, err := connectLate(ctx, url)
		if err != nil {
			return err
		}
		after = append(after, took)
	}
	r.printf("\nA server that starts 3 s late: the pool is ready %s (median) and %s (worst of %d) after it accepts\n",
		short(quantile(after, 0.5)), short(quantile(after, 1)), rounds)
	return nil
}

func connectLate(ctx context.Context, url string) (took time.Duration, err error) {
	t := &test{ctx: ctx}
	defer t.end()
	var p *faultkit.Proxy
	if err := t.try(func() { p = faultkit.NewProxy(t, url, faultkit.Options{}) }); err != nil {
		return 0, err
	}
	p.Refuse()
	cfg, err := pgxpool.ParseConfig(p.URL())
	if err != nil {
		return 0, fmt.Errorf("the database's URL cannot be parsed")
	}
	cfg.MinIdleConns = 2
	var accepts atomic.Int64 // since when
	timer := time.AfterFunc(3*time.Second, func() {
		accepts.Store(time.Now().UnixNano())
		p.Heal()
	})
	defer timer.Stop()
	pool, err := pgpool.ConnectConfig(ctx, cfg, quiet)
	if err != nil {
		return 0, err
	}
	ready := time.Now()
	pool.Close()
	return ready.Sub(time.Unix(0, accepts.Load())), nil
}

// reuse prints how many of the acquires under load got a connection that was there: 64 workers for
// 2 s a round, with a lifetime that turns all connections over, and one restart of the server in
// between.
func reuse(ctx context.Context, r *report, rounds int) error {
	server, err := startServer(ctx)
	if err != nil {
		return err
	}
	defer server.remove()
	cfg, err := pgxpool.ParseConfig(server.url)
	if err != nil {
		return fmt.Errorf("the server's URL cannot be parsed")
	}
	cfg.MaxConns = 10
	cfg.MaxConnLifetime, cfg.MaxConnLifetimeJitter = 5*time.Second, 2*time.Second
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
		group.Add(1)
		go func() {
			defer group.Done()
			for running.Err() == nil {
				if _, err := pool.Exec(ctx, "select 1"); err != nil {
					failures.Add(1)
					time.Sleep(10 * time.Millisecond) // as a client that backs off
				} else {
					answers.Add(1)
				}
			}
		}()
	}
	select {
	case <-running.Done():
	case <-time.After(length / 2):
	}
	err = server.restart(ctx)
	group.Wait()
	if err != nil {
		return err
	}
	opened, acquired := pool.Stat().NewConnsCount(), pool.Stat().AcquireCount()
	if acquired == 0 {
		return fmt.Errorf("nothing was acquired")
	}
	r.printf("\nReuse with 64 workers on 10 connections for %s, lifetime 5–7 s, one restart: %.3f %% of %d acquires "+
		"(%d opened, %d answers, %d failures)\n",
		length, 100*(1-float64(opened)/float64(acquired)), acquired, opened, answers.Load(), failures.Load())
	return nil
}
