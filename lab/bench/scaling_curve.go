package main

import (
	"fmt"
	"time"
)

// curve is what an operation of several sides costs at several sizes.
type curve struct {
	what   string // in the titles, without a comma
	unit   string // of the sizes
	per    string // the unit of work, of which an operation may have many
	points []point
}

// point is a curve at a size, measured.
type point struct {
	load
	sides []measuredSide
	done  int // units of work
	seen  seen
}

// perUnit is the time in which a unit of work is done, whoever did it.
func (p *point) perUnit(side int) time.Duration {
	return quantile(p.sides[side].timesByRound, 0.5) / time.Duration(p.work)
}

// cpu is what this process and the server used of the cores for a unit of work, on the average of
// the sides.
func (p *point) cpu() time.Duration {
	return time.Duration((p.seen.ours + p.seen.server) / float64(max(p.done, 1)) * float64(time.Second))
}

// held is how long the one who does a unit of work is busy with it, in nanoseconds, in a round.
// Ideally that is the same at all sizes: twice the work takes twice the time, and twice the workers
// do twice the work in the same time.
func (p *point) held(side, round int) float64 {
	return float64(p.sides[side].timesByRound[round]) / float64(p.work) * float64(p.atOnce)
}

// bendsBy is how much longer than at a smaller size a unit of work takes where a curve bends.
const bendsBy = 1.5

// bend is the first size at which a side's curve has left its ideal, or 0. It compares what was
// measured in the same round, at the sizes at which the side did not fail.
func (c *curve) bend(side int) int {
	for i := range c.points {
		if c.points[i].sides[side].failed != nil {
			continue
		}
		for smaller := range c.points[:i] {
			if c.points[smaller].sides[side].failed != nil {
				continue
			}
			longer := make([]float64, len(c.points[i].sides[side].timesByRound))
			for round := range longer {
				longer[round] = c.points[i].held(side, round) / c.points[smaller].held(side, round)
			}
			if quantile(longer, 0.5) > bendsBy {
				return c.points[i].size
			}
		}
	}
	return 0
}

// fastest is the size at which most is done in a time, or 0 if the side failed at all of them.
func (c *curve) fastest(side int) (size int) {
	var least time.Duration
	for i := range c.points {
		p := &c.points[i]
		if p.sides[side].failed != nil {
			continue
		}
		if took := p.perUnit(side); size == 0 || took < least {
			size, least = p.size, took
		}
	}
	return size
}

// summary prints the whole curve: what a unit of work costs at each size, where it bends, and what
// was seen there.
func (c *curve) summary(r *report) {
	r.printf("\nSummary: %s, time for each %s by %s\n\n| %-24s |", c.what, c.per, c.unit, "")
	for _, p := range c.points {
		r.printf(" %8d |", p.size)
	}
	r.printf(" %8s | %10s |\n|%s|", "bends at", "fastest at", dashes(26))
	for range c.points {
		r.printf("%s|", dashes(10))
	}
	r.printf("%s|%s|\n", dashes(10), dashes(12))
	for side, s := range c.points[0].sides {
		r.printf("| %-24s |", s.name)
		for i := range c.points {
			if c.points[i].sides[side].failed != nil {
				r.printf(" %8s |", "failed")
			} else {
				r.printf(" %8s |", short(c.points[i].perUnit(side)))
			}
		}
		bends := "–"
		if size := c.bend(side); size > 0 {
			bends = fmt.Sprint(size)
		}
		r.printf(" %8s | %10d |\n", bends, c.fastest(side))
	}
	r.printf("\n| %-24s | %10s | %12s | %6s | %12s | %-80s |\n|%s|%s|%s|%s|%s|%s|\n", c.unit, "cores busy",
		"this process", "server", "CPU for each",
		"what the server's sessions did", dashes(26), dashes(12), dashes(14), dashes(8), dashes(14), dashes(82))
	for i := range c.points {
		p := &c.points[i]
		r.printf("| %-24d | %10.2f | %12.2f | %6.2f | %12s | %-80s |\n", p.size, p.seen.cores/p.seen.length,
			p.seen.ours/p.seen.length,
			p.seen.server/p.seen.length, short(p.cpu()), p.seen.sessions())
	}
}
