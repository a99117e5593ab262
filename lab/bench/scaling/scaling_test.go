package scaling

import (
	"strings"
	"testing"
	"time"

	"github.com/page-builder/persistence/lab/bench/harness"
)

// The smallest sizes run, and each side has a time at each.
func TestRun(t *testing.T) {
	t.Parallel()
	r := &harness.Report{Out: t.Output()}
	if err := runSizes(t.Context(), r, 1, 1); err != nil {
		t.Fatal(err)
	}
	if len(r.Tables) != 5 {
		t.Errorf("%d tables, want one of each of 5 curves", len(r.Tables))
	}
	for _, table := range r.Tables {
		if what, ok := strings.CutPrefix(table.Title, "Scaling: "); !ok || strings.Count(what, ", ") != 1 {
			t.Errorf("the title %q is not what charts are drawn from", table.Title)
		}
		for _, row := range table.Rows {
			if row.Time.Median <= 0 {
				t.Errorf("%s, %s: no time", table.Title, row.Name)
			}
		}
	}
}

func TestBend(t *testing.T) {
	t.Parallel()
	type at struct {
		size, work, atOnce int
		ms                 float64
	}
	for name, test := range map[string]struct {
		points []at
		bend   int
	}{
		"rows, twice the time for twice the work": {[]at{{1, 1, 1, 1}, {2, 2, 1, 2}}, 0},
		"rows, the first of which cost more":      {[]at{{1, 1, 1, 4}, {8, 8, 1, 8}}, 0},
		"rows, many of which cost more":           {[]at{{1, 1, 1, 1}, {2, 2, 1, 2.8}, {4, 4, 1, 6.4}}, 4},
		"workers that leave each other alone":     {[]at{{1, 1, 1, 1}, {2, 1, 2, 0.55}}, 0},
		"workers that wait for each other":        {[]at{{1, 1, 1, 1}, {2, 1, 2, 1.01}}, 2},
	} {
		c := &curve{}
		for _, p := range test.points {
			rows := []harness.Row{{Times: []time.Duration{time.Duration(p.ms * float64(time.Millisecond))}}}
			c.points = append(c.points, &point{size: p.size, work: p.work, atOnce: p.atOnce, rows: rows})
		}
		if bend := c.bend(0); bend != test.bend {
			t.Errorf("%s: bends at %d, want %d", name, bend, test.bend)
		}
	}
}
