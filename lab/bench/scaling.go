package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// scaling shows what operations cost as their work grows: transactions by workers, queries by
// connections, rows, migrations and test databases. A curve's table of each size is followed by
// what a unit of work costs, where the curve bends, and what the server's sessions and the cores
// did. All sizes of a curve take turns in each round: what else the machine does meets all of them.
func scaling(ctx context.Context, r *report, rounds int) error {
	return scale(ctx, r, rounds, math.MaxInt)
}

// scale takes only as many sizes of each curve as steps, from the smallest: what tests have time
// for.
func scale(ctx context.Context, r *report, rounds, steps int) error {
	server, err := startServer(ctx)
	if err != nil {
		return err
	}
	defer server.remove()
	// Like the throw-away server, which others may be using, and with room for all sizes of the
	// pools.
	err = server.configure(ctx, map[string]string{
		"max_connections": "500", "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
		"autovacuum": "off", "jit": "off",
	})
	if err != nil {
		return err
	}
	g := growth{report: r, url: server.url, rounds: rounds, steps: steps}
	for _, curves := range []func(context.Context) error{g.transactions, g.pools, g.rows, g.migrations, g.databases} {
		if err := curves(ctx); err != nil {
			return err
		}
	}
	return nil
}

// growth is one run of scaling.
type growth struct {
	*report
	url    string // of a server that nobody else uses
	rounds int
	steps  int
}

func (g growth) sizes(all ...int) []int { return all[:min(g.steps, len(all))] }

// share is a part of the rounds, for what takes long.
func (g growth) share(part int) int { return (g.rounds + part - 1) / part }

// load is what is measured of a curve at a size.
type load struct {
	size   int
	work   int // units of work in the operation that is timed
	atOnce int // such operations under way at the same time
	ops    int // of them in a measurement
	names  []string
	time   func(side int) (time.Duration, error) // for one of the ops
}

// of is the load with sides, whose operation runs times in a row and consists of count others.
func (l load) of(ctx context.Context, times, count int, sides []side) load {
	l.ops = times * count
	for _, s := range sides {
		l.names = append(l.names, s.name)
	}
	l.time = func(i int) (time.Duration, error) {
		took, _, err := measure(ctx, times, sides[i].op)
		return took / time.Duration(count), err
	}
	return l
}

// measure takes turns between the loads and their sides, on the server of url, in each round and in
// one before that does not count. It reports the points and adds them to the curve.
func (g growth) measure(ctx context.Context, c *curve, url string, rounds int, loads []load) error {
	c.points = make([]point, len(loads))
	for i, l := range loads {
		c.points[i] = point{load: l, sides: make([]measuredSide, len(l.names))}
		for side, name := range l.names {
			c.points[i].sides[side].name = name
		}
	}
	w, err := newWatcher(ctx, url)
	if err != nil {
		return err
	}
	defer w.close()
	for round := range rounds + 1 {
		for _, i := range rand.Perm(len(loads)) {
			p := &c.points[i]
			w.begin(ctx)
			err := p.round(ctx, round > 0)
			p.seen.add(w.end())
			if err != nil {
				return err
			}
		}
	}
	for _, p := range c.points {
		g.add(fmt.Sprintf("Scaling: %s, %d %s", c.what, p.size, c.unit), rounds, p.ops, p.sides)
	}
	return nil
}

// round measures each side once.
func (p *point) round(ctx context.Context, counts bool) error {
	warmUp, rounds := 1, 0
	if counts {
		warmUp, rounds = 0, 1
	}
	return takeTurns(ctx, warmUp, rounds, p.sides, func(i int, _ bool) (time.Duration, error) {
		p.done += p.ops * p.work
		return p.time(i)
	})
}
