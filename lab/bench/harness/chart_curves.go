package harness

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sizedTitle matches tables that are points of a chart of lines: what, size, unit.
var sizedTitle = regexp.MustCompile(`^Scaling: (.+), ([0-9]+) (.+)$`)

// growth is how the times of some sides grow with a size.
type growth struct {
	what, unit string
	sizes      []float64
	lines      []*growthLine
}

type growthLine struct {
	name   string
	class  string
	sizes  []float64
	values []Spread // in seconds
}

// curves draws a chart for the tables of each title that differ only in their size.
func curves(comparison string, all []Table) (drawn []drawing) {
	var found []*growth
	for _, t := range all {
		parts := sizedTitle.FindStringSubmatch(t.Title)
		if parts == nil || t.Comparison != comparison {
			continue
		}
		size, err := strconv.ParseFloat(parts[2], 64)
		if err != nil || size <= 0 {
			continue
		}
		at := slices.IndexFunc(found, func(g *growth) bool { return g.what == parts[1] })
		if at < 0 {
			at = len(found)
			found = append(found, &growth{what: parts[1], unit: parts[3]})
		}
		found[at].add(size, t.Rows)
	}
	for _, g := range found {
		if len(g.lines) == 0 {
			continue
		}
		alt := make([]string, len(g.lines))
		for i, l := range g.lines {
			last := len(l.sizes) - 1
			alt[i] = fmt.Sprintf("%s %s at %g, %s at %g", l.name, inUnits(l.values[0].Median), l.sizes[0],
				inUnits(l.values[last].Median), l.sizes[last])
		}
		d := drawing{
			comparison: comparison, file: "scaling-" + FileName(g.what), title: "Scaling: " + g.what,
			alt: fmt.Sprintf("Time of %s from %g to %g %s: %s.", g.what, g.sizes[0], g.sizes[len(g.sizes)-1], g.unit,
				strings.Join(alt, "; ")),
		}
		d.svg = g.draw(d)
		drawn = append(drawn, d)
	}
	return drawn
}

// add adds the table of a size. Sizes come in order.
func (g *growth) add(size float64, rows []Row) {
	g.sizes = append(g.sizes, size)
	for _, row := range rows {
		if row.Failed != nil {
			continue
		}
		at := slices.IndexFunc(g.lines, func(l *growthLine) bool { return l.name == row.Name })
		if at < 0 {
			at = len(g.lines)
			ours := 0
			for _, l := range g.lines {
				if IsOurs(l.name) {
					ours++
				}
			}
			color := 2 + (at-ours)%4
			if IsOurs(row.Name) {
				color = ours % 2
			}
			g.lines = append(g.lines, &growthLine{name: row.Name, class: fmt.Sprintf("c%d", color)})
		}
		second := float64(time.Second)
		g.lines[at].sizes = append(g.lines[at].sizes, size)
		g.lines[at].values = append(g.lines[at].values,
			Spread{max(row.Time.Q1, 1) / second, max(row.Time.Median, 1) / second, max(row.Time.Q3, 1) / second})
	}
}

// draw has logarithmic axes.
func (g *growth) draw(d drawing) []byte {
	const top, bottom, left = headRoom + 8, headRoom + 240, margin + 50
	right, least, most := 0.0, math.Inf(1), 0.0
	for _, l := range g.lines {
		right = max(right, width(l.name))
		for _, v := range l.values {
			least, most = min(least, v.Q1), max(most, v.Q3)
		}
	}
	if most/least < 2 {
		least, most = least/1.5, most*1.5
	}
	right = cardWidth - margin - right - 10
	first, last := g.sizes[0], g.sizes[len(g.sizes)-1]
	if first == last { // one size has no width
		first, last = first/2, last*2
	}
	x := func(size float64) float64 { return left + (right-left)*math.Log(size/first)/math.Log(last/first) }
	y := func(seconds float64) float64 {
		return bottom - (bottom-top)*math.Log(seconds/least)/math.Log(most/least)
	}
	var body canvas
	for _, tick := range decades(least, most) {
		body.line(left, y(tick), right, y(tick), "grid")
		body.text(left-6, y(tick)+4, "end", "small", inUnits(tick))
	}
	for _, size := range g.sizes {
		body.text(x(size), bottom+14, "middle", "small", strconv.FormatFloat(size, 'f', -1, 64))
	}
	body.text((left+right)/2, bottom+30, "middle", "small", g.unit)
	lines := slices.Clone(g.lines) // from the bottom up: names that would lie on each other are moved apart
	slices.SortStableFunc(lines, func(a, b *growthLine) int {
		return cmp.Compare(a.values[len(a.values)-1].Median, b.values[len(b.values)-1].Median)
	})
	lowest := math.Inf(1)
	for _, l := range lines {
		var points []string
		fmt.Fprintf(&body, "<g class=\"%s\">\n", l.class)
		for i, v := range l.values {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(l.sizes[i]), y(v.Median)))
			body.line(x(l.sizes[i]), y(v.Q1), x(l.sizes[i]), y(v.Q3), "c")
			fmt.Fprintf(&body, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" class=\"f\"/>\n", x(l.sizes[i]), y(v.Median))
		}
		fmt.Fprintf(&body, "<polyline points=\"%s\" class=\"line c\"/>\n", strings.Join(points, " "))
		lowest = min(y(l.values[len(l.values)-1].Median), lowest-13)
		body.text(right+8, lowest+4, "start", "f", l.name)
		body.WriteString("</g>\n")
	}
	return body.card(d.title, "Time by "+g.unit+", both on log scales: lower is better. Points: medians; lines: "+
		"quartiles. "+Cores()+".", d.alt, bottom+40)
}

// decades returns 1, 2 and 5 times each power of ten in the range, or only the powers if there
// would be many.
func decades(least, most float64) (ticks []float64) {
	factors := []float64{1, 2, 5}
	if most/least > 300 {
		factors = factors[:1]
	}
	for power := math.Floor(math.Log10(least)); power <= math.Log10(most); power++ {
		for _, factor := range factors {
			if v := factor * math.Pow(10, power); v >= least*0.999 && v <= most*1.001 {
				ticks = append(ticks, v)
			}
		}
	}
	return ticks
}
