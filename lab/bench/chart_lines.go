package main

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// scalingTitle is of the tables that make up a chart of lines: what, size, unit.
var scalingTitle = regexp.MustCompile(`^Scaling: (.+), ([0-9][0-9,]*) (.+)$`)

// growing is how the times of some sides grow with a size.
type growing struct {
	comparison, what, unit string
	tables                 []sized
}

// sized is one of its tables.
type sized struct {
	size  float64
	sides []measuredSide
}

// growingOf finds them in the order of their first tables.
func growingOf(all []measured) []*growing {
	var found []*growing
	for _, m := range all {
		parts := scalingTitle.FindStringSubmatch(m.title)
		if parts == nil {
			continue
		}
		size, err := strconv.ParseFloat(strings.ReplaceAll(parts[2], ",", ""), 64)
		if err != nil || size <= 0 {
			continue
		}
		at := slices.IndexFunc(found, func(c *growing) bool { return c.what == parts[1] })
		if at < 0 {
			at = len(found)
			found = append(found, &growing{comparison: m.comparison, what: parts[1], unit: parts[3]})
		}
		found[at].tables = append(found[at].tables, sized{size, m.sides})
	}
	for _, c := range found {
		slices.SortStableFunc(c.tables, func(a, b sized) int { return cmp.Compare(a.size, b.size) })
	}
	return found
}

const plotHeight = 280 * vg.Length(1)

// others are the colors of peers, which only have to differ.
var others = []color.Color{
	color.RGBA{0x59, 0x63, 0x6e, 0xff},
	color.RGBA{0xbc, 0x4c, 0x00, 0xff},
	color.RGBA{0x82, 0x50, 0xdf, 0xff},
	color.RGBA{0x9a, 0x67, 0x00, 0xff},
	color.RGBA{0xbf, 0x39, 0x89, 0xff},
}

// ourColors are those of our sides.
var ourColors = []color.Color{blue, color.RGBA{0x1b, 0x7c, 0x83, 0xff}, color.RGBA{0x54, 0xae, 0xff, 0xff}}

// chartLine is one side's.
type chartLine struct {
	name  string
	color color.Color
	xys   plotter.XYs // seconds by size
	err   plotter.YErrors
}

func (c *growing) lines() []*chartLine {
	var all []*chartLine
	counts := map[bool]int{}
	for _, p := range c.tables {
		for _, s := range p.sides {
			if s.failed != nil {
				continue
			}
			at := slices.IndexFunc(all, func(l *chartLine) bool { return l.name == s.name })
			if at < 0 {
				at = len(all)
				palette, mine := others, isOurs(s.name)
				if mine {
					palette = ourColors
				}
				all = append(all, &chartLine{name: s.name, color: palette[counts[mine]%len(palette)]})
				counts[mine]++
			}
			seconds := func(ns float64) float64 { return max(ns, 1) / float64(time.Second) }
			all[at].xys = append(all[at].xys, plotter.XY{X: p.size, Y: seconds(s.time.median)})
			all[at].err = append(all[at].err, struct{ Low, High float64 }{
				seconds(s.time.median) - seconds(s.time.q1), seconds(s.time.q3) - seconds(s.time.median),
			})
		}
	}
	return all
}

// draw is nil if all sides failed at all sizes.
func (c *growing) draw() (*chart, error) {
	lines := c.lines()
	if len(lines) == 0 {
		return nil, nil
	}
	first, last := c.tables[0], c.tables[len(c.tables)-1]
	alt := make([]string, len(lines))
	for i, l := range lines {
		from, to := l.xys[0], l.xys[len(l.xys)-1]
		alt[i] = fmt.Sprintf("%s %s at %.0f, %s at %.0f", l.name, inUnits(from.Y), from.X, inUnits(to.Y), to.X)
	}
	drawn := &chart{
		comparison: c.comparison, file: "scaling-" + fileName(c.what), title: "Scaling: " + c.what,
		alt: fmt.Sprintf("Time of %s from %.0f to %.0f %s: %s.", c.what, first.size, last.size,
			c.unit, strings.Join(alt, "; ")),
	}
	var err error
	drawn.svg, err = card(drawn.title,
		"Time by "+c.unit+", both on log scales: lower is better. Points: medians; whiskers: quartiles.",
		drawn.alt, plotHeight, func(area draw.Canvas) error { return c.drawLines(area, lines) })
	return drawn, err
}

func (c *growing) drawLines(area draw.Canvas, lines []*chartLine) error {
	names := letters(10.5, ink, text.XLeft, text.YCenter)
	right := vg.Length(0)
	p := plot.New()
	p.BackgroundColor = nil // the card is white
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Padding, axis.Color, axis.Tick.Color = 4, border, border
	}
	p.X.Tick.Label, p.Y.Tick.Label = letters(9, muted, text.XCenter, text.YTop), letters(9, muted,
		text.XRight, text.YCenter)
	p.X.Label.Text, p.X.Label.TextStyle = c.unit, letters(10, muted, text.XCenter, text.YBottom)
	var sizes plot.ConstantTicks
	for _, at := range c.tables {
		sizes = append(sizes, plot.Tick{Value: at.size, Label: strconv.FormatFloat(at.size, 'f', -1, 64)})
	}
	p.X.Tick.Marker = sizes
	grid := plotter.NewGrid()
	grid.Vertical.Width, grid.Horizontal = 0, draw.LineStyle{Color: faint, Width: 1}
	p.Add(grid)
	for _, l := range lines {
		right = max(right, names.Width(l.name))
		drawn, points, err := plotter.NewLinePoints(l.xys)
		if err != nil {
			return err
		}
		drawn.LineStyle = draw.LineStyle{Color: l.color, Width: 2}
		points.GlyphStyle = draw.GlyphStyle{Color: l.color, Radius: 3, Shape: draw.CircleGlyph{}}
		whiskers, err := plotter.NewYErrorBars(struct {
			plotter.XYs
			plotter.YErrors
		}{l.xys, l.err})
		if err != nil {
			return err
		}
		whiskers.LineStyle, whiskers.CapWidth = draw.LineStyle{Color: l.color, Width: 1}, 5
		p.Add(drawn, whiskers, points)
	}
	p.Y.Tick.Marker = decades(p.Y.Min, p.Y.Max)
	if p.X.Min == p.X.Max { // one size has no width on a log scale
		p.X.Min, p.X.Max = p.X.Min/2, p.X.Max*2
	}
	if p.Y.Max/p.Y.Min < 2 {
		p.Y.Min, p.Y.Max = p.Y.Min/1.5, p.Y.Max*1.5
		p.Y.Tick.Marker = decades(p.Y.Min, p.Y.Max)
	}
	cell := draw.Crop(area, 0, -right-10, 0, 0)
	p.Draw(cell)

	// The lines' names are at their ends, moved apart where they would lie on each other.
	data := p.DataCanvas(cell)
	_, y := p.Transforms(&data)
	slices.SortStableFunc(lines, func(a, b *chartLine) int {
		return cmp.Compare(a.xys[len(a.xys)-1].Y, b.xys[len(b.xys)-1].Y)
	})
	lowest := vg.Length(math.Inf(-1))
	for _, l := range lines {
		at := max(y(l.xys[len(l.xys)-1].Y), lowest+13)
		lowest = at
		names.Color = l.color
		area.FillText(names, vg.Point{X: cell.Max.X + 8, Y: at}, l.name)
	}
	return nil
}

// decades are 1, 2 and 5 times each power of ten in the range, or one of them if there would be
// many.
func decades(least, most float64) plot.ConstantTicks {
	factors := []float64{1, 2, 5}
	if most/least > 300 {
		factors = factors[:1]
	}
	var ticks plot.ConstantTicks
	for power := math.Floor(math.Log10(least)); power <= math.Log10(most); power++ {
		for _, factor := range factors {
			if v := factor * math.Pow(10, power); v >= least*0.999 && v <= most*1.001 {
				ticks = append(ticks, plot.Tick{Value: v, Label: inUnits(v)})
			}
		}
	}
	return ticks
}

// inUnits is a time in seconds with at most three digits.
func inUnits(seconds float64) string {
	d := short(time.Duration(math.Round(seconds * float64(time.Second))))
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{time.Second, "s"}, {time.Millisecond, "ms"}, {time.Microsecond, "µs"}, {time.Nanosecond, "ns"}} {
		if d >= u.unit {
			return strconv.FormatFloat(float64(d)/float64(u.unit), 'f', -1, 64) + " " + u.name
		}
	}
	return "0 s"
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

func fileName(what string) string {
	return strings.Trim(notInNames.ReplaceAllString(strings.ToLower(what), "-"), "-")
}
