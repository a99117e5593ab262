// Package scaling measures what operations cost as their work grows: transactions by workers,
// queries by connections, migrations and test databases. All sizes of a curve take turns in each
// round, so that what else the machine does meets all of them.
package scaling

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/page-builder/persistence/lab/bench/harness"
)

// Comparison is the package's entry in the list of comparisons.
var Comparison = harness.Comparison{
	Name: "scaling", Rounds: 8, Run: run,
	Reasons: []harness.Reason{
		{
			Table: `a transaction`, Side: `^pgtx`,
			Why: "The cores are busy with the server's part when several run at a time, so that a saved round trip saves " +
				"little.",
		},
		{
			Table: `a short query`, Side: `^pgpool`,
			Why: "The hooks of acquire and release, and a tracer that looks at the time and error of each query.",
		},
		{
			Table: `from an empty database`, Side: `^pgmigrate`,
			Why: "Each migration is also recorded in the history, with its checksum, which is how an edited file is found " +
				"later.",
		},
		{
			Table: `nothing to do`, Side: `^pgmigrate`,
			Why: "The history and the checksums of what is applied are read and compared.",
		},
	},
}

func run(ctx context.Context, r *harness.Report, rounds int) error {
	return runSizes(ctx, r, rounds, math.MaxInt)
}

// runSizes takes only so many sizes of each curve, from the smallest.
func runSizes(ctx context.Context, r *harness.Report, rounds, sizes int) error {
	server, err := harness.StartServer(ctx, map[string]string{
		"max_connections": "500", "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
		"autovacuum": "off", "jit": "off",
	})
	if err != nil {
		return err
	}
	defer server.Remove()
	b := bench{Report: r, url: server.URL, rounds: rounds, sizes: sizes}
	for _, curves := range []func(context.Context) error{b.transactions, b.queries, b.migrations, b.databases} {
		if err := curves(ctx); err != nil {
			return err
		}
	}
	return nil
}

type bench struct {
	*harness.Report
	url    string // of a server that nobody else uses
	rounds int
	sizes  int
}

// curve is what an operation of several sides costs at several sizes.
type curve struct {
	what   string // in the titles, without a comma
	unit   string // of the sizes
	per    string // the unit of work, of which an operation may have many
	points []*point
}

// point is a curve at a size.
type point struct {
	size   int
	work   int // units of work in the operation that is timed
	atOnce int // such operations under way at the same time
	ops    int // of them in a measurement
	rows   []harness.Row
	time   func(side int) (time.Duration, error) // for one of the ops

	length, cores, own time.Duration // of the measurements: the clock, the machine's cores, this process
}

// measure takes turns between the points and their sides in each round, and in one before that does
// not count. It prints the tables and the summary.
func (b bench) measure(ctx context.Context, c *curve, rounds int) error {
	c.points = c.points[:min(b.sizes, len(c.points))]
	for round := range rounds + 1 {
		warmUp := 0
		if round == 0 {
			warmUp = 1
		}
		for _, i := range rand.Perm(len(c.points)) {
			p := c.points[i]
			began, own := time.Now(), harness.OwnCPU()
			cores, err := harness.BusyCores(ctx)
			if err != nil {
				return err
			}
			err = harness.TakeTurns(ctx, warmUp, 1-warmUp, p.rows, func(side int, _ bool) (time.Duration, error) {
				return p.time(side)
			})
			if err != nil {
				return err
			}
			after, err := harness.BusyCores(ctx)
			if err != nil {
				return err
			}
			p.length, p.cores, p.own = p.length+time.Since(began), p.cores+after-cores, p.own+harness.OwnCPU()-own
		}
	}
	for _, p := range c.points {
		b.Add(fmt.Sprintf("Scaling: %s, %d %s", c.what, p.size, c.unit), rounds, p.ops, p.rows)
	}
	c.summary(b.Report)
	return nil
}

// held returns how long a worker is busy with a unit of work, in a round. Ideally that is the same
// at all sizes: twice the work takes twice the time, and twice the workers do twice the work in the
// same time.
func (p *point) held(side, round int) float64 {
	return float64(p.rows[side].Times[round]) / float64(p.work) * float64(p.atOnce)
}

// bendsBy is how much longer than at a smaller size a unit of work takes where a curve bends.
const bendsBy = 1.5

// bend returns the first size at which a side's curve has left its ideal, or 0. It compares what
// was measured in the same round, at the sizes at which the side did not fail.
func (c *curve) bend(side int) int {
	for i, p := range c.points {
		for _, smaller := range c.points[:i] {
			if p.rows[side].Failed != nil || smaller.rows[side].Failed != nil {
				continue
			}
			longer := make([]float64, len(p.rows[side].Times))
			for round := range longer {
				longer[round] = p.held(side, round) / smaller.held(side, round)
			}
			if harness.Quantile(longer, 0.5) > bendsBy {
				return p.size
			}
		}
	}
	return 0
}

// summary prints what a unit of work costs at each size, where the curve bends, and how busy the
// cores were.
func (c *curve) summary(r *harness.Report) {
	head, sides := []string{""}, c.points[0].rows
	cells := make([][]string, len(sides))
	for i, p := range c.points {
		head = append(head, fmt.Sprint(p.size))
		for side, row := range p.rows {
			if i == 0 {
				cells[side] = []string{row.Name}
			}
			cell := "failed"
			if row.Failed == nil {
				cell = harness.Short(harness.Quantile(row.Times, 0.5) / time.Duration(p.work)).String()
			}
			cells[side] = append(cells[side], cell)
		}
	}
	for side := range sides {
		bends := "–"
		if size := c.bend(side); size > 0 {
			bends = fmt.Sprint(size)
		}
		cells[side] = append(cells[side], bends)
	}
	busy, own := []string{"cores busy"}, []string{"of these, this process"}
	for _, p := range c.points {
		busy = append(busy, fmt.Sprintf("%.2f", p.cores.Seconds()/p.length.Seconds()))
		own = append(own, fmt.Sprintf("%.2f", p.own.Seconds()/p.length.Seconds()))
	}
	cells = append(cells, append(busy, ""), append(own, ""))
	r.Grid(fmt.Sprintf("Summary: %s, time for each %s by %s, %s", c.what, c.per, c.unit, harness.Cores()),
		append(head, "bends at"), cells...)
}
