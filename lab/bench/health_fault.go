package main

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// remembered is longer than the answers of any of the probers are given again.
const remembered = 1100 * time.Millisecond

// faulted is what one of the probers answers in each fault.
type faulted struct {
	exhausted, frozen probeAnswers
	again             time.Duration // from the thaw to the first 200
}

// probeFaults prints what the probers answer, all at the same time, when the application has taken
// all connections of a healthy database's pool, and when all processes of the server are stopped:
// connections stay open, and nothing answers.
func probeFaults(ctx context.Context, r *report, server *ownServer, callers int) (_ []faulted, err error) {
	const connections = 4
	handlers := make([]http.Handler, len(probers))
	pools := make([]*pgxpool.Pool, len(probers))
	for i, p := range probers {
		if pools[i], err = configured(ctx, server.url, func(c *pgxpool.Config) {
			c.MaxConns = connections
		}); err != nil {
			return nil, err
		}
		defer pools[i].Close()
		handler, end, err := p.open(server.url, pools[i])
		if err != nil {
			return nil, err
		}
		defer end()
		handlers[i] = handler
		if err := untilReady(ctx, handler); err != nil {
			return nil, err
		}
	}
	results := make([]faulted, len(probers))
	all := func(fn func(i int)) {
		var group sync.WaitGroup
		for i := range probers {
			group.Go(func() { fn(i) })
		}
		group.Wait()
	}

	release, err := takeAll(ctx, pools, connections)
	if err == nil {
		time.Sleep(remembered)
		all(func(i int) { results[i].exhausted = askAtOnce(handlers[i], callers, 1) })
	}
	release()
	if err != nil {
		return nil, err
	}

	for _, handler := range handlers {
		if err := untilReady(ctx, handler); err != nil {
			return nil, err
		}
	}
	time.Sleep(remembered)
	thaw, err := server.freeze()
	if err == nil {
		all(func(i int) { results[i].frozen = askAtOnce(handlers[i], callers, 1) })
	}
	thawed := time.Now()
	if err := errors.Join(err, thaw()); err != nil {
		return nil, err
	}
	back := make([]error, len(probers))
	all(func(i int) {
		back[i] = untilReady(ctx, handlers[i])
		results[i].again = time.Since(thawed)
	})
	if err := errors.Join(back...); err != nil {
		return nil, err
	}

	r.printf("\n%d probes at once when the application uses all %d connections of the pool, and when the server is "+
		"frozen\n\n", callers, connections)
	r.printf("| %-28s | %9s | %8s | %8s | %9s | %8s | %8s | %14s |\n|%s|%s|%s|%s|%s|%s|%s|%s|\n", "", "exhausted",
		"first", "last", "frozen", "first", "last", "thawed: 200 in",
		dashes(30), dashes(11), dashes(10), dashes(10), dashes(11), dashes(10), dashes(10), dashes(16))
	for i, p := range probers {
		f := results[i]
		r.printf("| %-28s | %9s | %8s | %8s | %9s | %8s | %8s | %14s |\n", p.name, f.exhausted,
			short(quantile(f.exhausted.times, 0)), short(quantile(f.exhausted.times, 1)),
			f.frozen, short(quantile(f.frozen.times, 0)), short(quantile(f.frozen.times, 1)), short(f.again))
	}
	return results, nil
}

// takeAll acquires all connections of all pools until release is called.
func takeAll(ctx context.Context, pools []*pgxpool.Pool, each int) (release func(), err error) {
	var taken []*pgxpool.Conn
	release = func() {
		for _, conn := range taken {
			conn.Release()
		}
	}
	for _, pool := range pools {
		for range each {
			conn, err := pool.Acquire(ctx)
			if err != nil {
				return release, err
			}
			taken = append(taken, conn)
		}
	}
	return release, nil
}

// untilReady asks until the answer is 200.
func untilReady(ctx context.Context, handler http.Handler) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for ask(handler) != http.StatusOK {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return errors.New("no probe was answered with 200 within a minute")
		}
	}
	return nil
}
