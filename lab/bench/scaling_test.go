package main

import (
	"strings"
	"testing"
	"time"
)

// The smallest sizes run, and each side has a time at each.
func TestScalingRuns(t *testing.T) {
	r := &report{Writer: t.Output()}
	if err := scale(t.Context(), r, 1, 1); err != nil {
		t.Fatal(err)
	}
	const curves = 9 // of one size each
	if len(r.measured) != curves {
		t.Errorf("%d tables, want one of each of %d curves", len(r.measured), curves)
	}
	for _, m := range r.measured {
		if what, ok := strings.CutPrefix(m.title, "Scaling: "); !ok || strings.Count(what, ", ") != 1 {
			t.Errorf("the title %q is not what charts are drawn from", m.title)
		}
		for _, s := range m.sides {
			if s.time.median <= 0 {
				t.Errorf("%s, %s: no time", m.title, s.name)
			}
		}
	}
}

func TestBend(t *testing.T) {
	type at struct {
		size, work, atOnce int
		ms                 float64
	}
	for name, test := range map[string]struct {
		points        []at
		bend, fastest int
	}{
		"rows, twice the time for twice the work": {[]at{{1, 1, 1, 1}, {2, 2, 1, 2}}, 0, 1},
		"rows, the first of which cost more":      {[]at{{1, 1, 1, 4}, {8, 8, 1, 8}}, 0, 8},
		"rows, many of which cost more":           {[]at{{1, 1, 1, 1}, {2, 2, 1, 2.8}, {4, 4, 1, 6.4}}, 4, 1},
		"workers that leave each other alone":     {[]at{{1, 1, 1, 1}, {2, 1, 2, 0.55}}, 0, 2},
		"workers that wait for each other":        {[]at{{1, 1, 1, 1}, {2, 1, 2, 1.01}}, 2, 1},
	} {
		c := &curve{}
		for _, p := range test.points {
			sides := []measuredSide{{timesByRound: []time.Duration{time.Duration(p.ms * float64(time.Millisecond))}}}
			c.points = append(c.points, point{load: load{size: p.size, work: p.work, atOnce: p.atOnce}, sides: sides})
		}
		if bend, fastest := c.bend(0), c.fastest(0); bend != test.bend || fastest != test.fastest {
			t.Errorf("%s: bends at %d, fastest at %d, want %d and %d", name, bend, fastest, test.bend, test.fastest)
		}
	}
}
