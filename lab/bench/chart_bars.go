package main

import (
	"fmt"
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

// bars is a chart of one panel a table, side by side, with a bar for each side.
type bars struct {
	comparison string
	file       string
	title      string
	panels     []panel
	times      bool // instead of ratios to the first side
}

// panel names a table, and heads its bars.
type panel struct{ table, heading string }

const (
	barHeight  = 24 * vg.Length(1) // with the space around it
	axisHeight = 22 * vg.Length(1)
	panelHead  = 16 * vg.Length(1)
	panelGap   = 14 * vg.Length(1)
)

// draw is nil if one of the tables was not measured as a whole, or has other sides than the first.
func (b bars) draw(all []measured) (*chart, error) {
	tables := make([]measured, len(b.panels))
	for i, p := range b.panels {
		m, ok := tableOf(all, p.table)
		if !ok || m.anyFailed() || i > 0 && !slices.EqualFunc(m.sides, tables[0].sides, func(a, b measuredSide) bool {
			return a.name == b.name
		}) {
			return nil, nil
		}
		tables[i] = m
	}
	sides := tables[0].sides
	below := fmt.Sprintf("Time against %s = 1 (dashed) in the same round: lower is better. Bars: medians; whiskers: "+
		"quartiles.", sides[0].name)
	if b.times {
		below = "Lower is better."
	}
	var alt []string
	for i, m := range tables {
		figures := make([]string, len(m.sides))
		for j, s := range m.sides {
			figures[j] = s.name + " " + b.label(b.value(s).median)
		}
		alt = append(alt, b.panels[i].heading+": "+strings.Join(figures, ", "))
	}
	c := &chart{
		comparison: b.comparison, file: b.file, title: b.title, alt: b.title + ". " + strings.Join(alt, "; ") + ".",
	}
	var err error
	c.svg, err = card(b.title, below, c.alt, panelHead+barHeight*vg.Length(len(sides))+axisHeight+margin/2,
		func(area draw.Canvas) error {
			return b.drawPanels(area, tables)
		})
	return c, err
}

func tableOf(all []measured, title string) (measured, bool) {
	for _, m := range all {
		if m.title == title {
			return m, true
		}
	}
	return measured{}, false
}

func (b bars) value(s measuredSide) spread {
	if !b.times {
		return s.ratio
	}
	second := float64(time.Second)
	return spread{s.time.q1 / second, s.time.median / second, s.time.q3 / second}
}

func (b bars) label(value float64) string {
	if b.times {
		return fmt.Sprintf("%.1f s", value)
	}
	return fmt.Sprintf("×%.2f", value)
}

func (b bars) drawPanels(area draw.Canvas, tables []measured) error {
	names := letters(11, ink, text.XRight, text.YCenter)
	var left, most vg.Length
	longest, highest := 1.0, 1.0
	for _, s := range tables[0].sides {
		left = max(left, names.Width(s.name))
	}
	for _, m := range tables {
		for _, s := range m.sides {
			longest, highest = max(longest, b.value(s).median), max(highest, b.value(s).q3)
			most = max(most, names.Width(b.label(b.value(s).median)))
		}
	}
	highest = min(highest, 1.5*longest) // a whisker that is longer is cut off
	left += 8
	width := (area.Max.X - area.Min.X - left - panelGap*vg.Length(len(tables)-1)) / vg.Length(len(tables))
	reach := highest
	highest *= float64(width / (width - most - 10)) // the labels are to the right of the whiskers
	perUnit := width / vg.Length(highest)
	for i, m := range tables {
		begin := area.Min.X + left + vg.Length(i)*(width+panelGap)
		cell := draw.Crop(area, begin-area.Min.X, begin+width-area.Max.X, 0, 0)
		p, err := b.plot(m, reach, highest, float64((most+8)/perUnit))
		if err != nil {
			return err
		}
		top := cell.Max.Y
		cell = draw.Crop(cell, 0, 0, 0, -panelHead)
		p.Draw(cell)
		area.FillText(letters(11, muted, text.XLeft, text.YTop), vg.Point{X: p.DataCanvas(cell).Min.X, Y: top},
			b.panels[i].heading)
		if i > 0 {
			continue
		}
		data := p.DataCanvas(cell)
		_, y := p.Transforms(&data)
		for j, s := range m.sides {
			names := names
			if isOurs(s.name) {
				names.Color = blue
			}
			area.FillText(names, vg.Point{X: data.Min.X - 8, Y: y(float64(len(m.sides) - 1 - j))}, s.name)
		}
	}
	return nil
}

// plot has bars as long as reach, and beside them labels that are as wide as wide.
func (b bars) plot(m measured, reach, highest, wide float64) (*plot.Plot, error) {
	p := plot.New()
	p.BackgroundColor = nil // the card is white
	p.HideY()
	p.Y.Min, p.Y.Max = -0.5, float64(len(m.sides))-0.5
	p.X.Min, p.X.Max = 0, highest
	p.X.Padding, p.X.Color = 0, border
	p.X.Tick.Color, p.X.Tick.Label = border, letters(9, muted, text.XCenter, text.YTop)
	p.X.Tick.Marker = steps(highest)
	grid := plotter.NewGrid()
	grid.Horizontal.Width, grid.Vertical = 0, draw.LineStyle{Color: faint, Width: 1}
	p.Add(grid)
	for i, s := range m.sides {
		row, value := float64(len(m.sides)-1-i), b.value(s)
		bar, err := plotter.NewBarChart(plotter.Values{value.median}, barHeight*0.62)
		if err != nil {
			return nil, err
		}
		bar.Horizontal, bar.XMin, bar.Color, bar.LineStyle.Width = true, row, grey, 0
		if isOurs(s.name) {
			bar.Color = blue
		}
		p.Add(bar)
		at, end := plotter.XYs{{X: value.median, Y: row}}, min(value.q3, reach)
		whisker, err := plotter.NewXErrorBars(struct {
			plotter.XYs
			plotter.XErrors
		}{at, plotter.XErrors{{Low: value.median - value.q1, High: end - value.median}}})
		if err != nil {
			return nil, err
		}
		whisker.LineStyle, whisker.CapWidth = draw.LineStyle{Color: ink, Width: 1}, 5
		if value.q1 != value.q3 {
			p.Add(whisker)
		}
		if !b.times && end < 1 && end+wide > 1 {
			end = 1 // not on the line
		}
		label, err := plotter.NewLabels(plotter.XYLabels{
			XYs: plotter.XYs{{X: end, Y: row}}, Labels: []string{b.label(value.median)},
		})
		if err != nil {
			return nil, err
		}
		label.TextStyle[0], label.Offset = letters(10, ink, text.XLeft, text.YCenter), vg.Point{X: 4}
		p.Add(label)
	}
	if !b.times {
		one, err := plotter.NewLine(plotter.XYs{{X: 1, Y: p.Y.Min}, {X: 1, Y: p.Y.Max}})
		if err != nil {
			return nil, err
		}
		one.LineStyle = draw.LineStyle{Color: muted, Width: 1, Dashes: []vg.Length{3, 3}}
		p.Add(one)
	}
	p.Y.Min, p.Y.Max, p.X.Min, p.X.Max = -0.5, float64(len(m.sides))-0.5, 0, highest // Add has widened them
	return p, nil
}

// steps are at most five round numbers from 0.
func steps(highest float64) plot.ConstantTicks {
	step := 0.5
	for _, next := range []float64{1, 2, 5, 10, 20, 50, 100, 200, 500} {
		if highest/step > 5 {
			step = next
		}
	}
	var ticks plot.ConstantTicks
	for v := 0.0; v <= highest; v += step {
		ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'g', -1, 64)})
	}
	return ticks
}
