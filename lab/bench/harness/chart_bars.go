package harness

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Chart has a panel for each table, side by side, with a bar for each side.
type Chart struct {
	File, Title string
	Panels      []Panel
	Times       bool // instead of ratios to the first side
}

// Panel names a table, and has the heading of its bars.
type Panel struct{ Table, Heading string }

const (
	barPitch = 24.0
	panelGap = 14.0
)

// draw returns nil if one of the tables is incomplete, or has other sides than the first.
func (c Chart) draw(all []Table) (svg []byte, alt string) {
	tables := make([]Table, len(c.Panels))
	texts := make([]string, len(c.Panels))
	for i, p := range c.Panels {
		t, ok := tableOf(all, p.Table)
		if !ok || slices.ContainsFunc(t.Rows, func(r Row) bool { return r.Failed != nil }) ||
			i > 0 && !slices.EqualFunc(t.Rows, tables[0].Rows, func(a, b Row) bool { return a.Name == b.Name }) {
			return nil, ""
		}
		figures := make([]string, len(t.Rows))
		for j, row := range t.Rows {
			figures[j] = row.Name + " " + c.label(c.value(row).Median)
		}
		tables[i], texts[i] = t, p.Heading+": "+strings.Join(figures, ", ")
	}
	below := "Lower is better. " + Cores() + "."
	if !c.Times {
		below = fmt.Sprintf("Time against %s = 1 (dashed) in the same round: lower is better. Bars: medians; "+
			"whiskers: quartiles. %s.", tables[0].Rows[0].Name, Cores())
	}
	alt = c.Title + ". " + strings.Join(texts, "; ") + "."
	var body canvas
	c.drawPanels(&body, tables)
	return body.card(c.Title, below, alt, headRoom+16+barPitch*float64(len(tables[0].Rows))+30), alt
}

func (c Chart) value(row Row) Spread {
	if !c.Times {
		return row.Ratio
	}
	second := float64(time.Second)
	return Spread{row.Time.Q1 / second, row.Time.Median / second, row.Time.Q3 / second}
}

func (c Chart) label(value float64) string {
	if c.Times {
		return fmt.Sprintf("%.1f s", value)
	}
	return fmt.Sprintf("×%.2f", value)
}

func (c Chart) drawPanels(body *canvas, tables []Table) {
	left, longest, highest := 0.0, 1.0, 1.0
	for _, t := range tables {
		for _, row := range t.Rows {
			v := c.value(row)
			left = max(left, width(row.Name))
			longest, highest = max(longest, v.Median), max(highest, v.Q3)
		}
	}
	highest = min(highest, 1.5*longest) // cut off longer whiskers
	left += margin + 8
	n := float64(len(tables))
	panel := (cardWidth - margin - left - panelGap*(n-1)) / n
	unit := (panel - 44) / highest // a label is to the right of the longest whisker
	top, bottom := headRoom+16, headRoom+16+barPitch*float64(len(tables[0].Rows))
	for i, t := range tables {
		x := left + float64(i)*(panel+panelGap)
		body.text(x, headRoom+8, "start", "small", c.Panels[i].Heading)
		for _, v := range steps(highest) {
			body.line(x+v*unit, top, x+v*unit, bottom, "grid")
			body.text(x+v*unit, bottom+13, "middle", "small", fmt.Sprint(v))
		}
		for j, row := range t.Rows {
			v, y, class := c.value(row), top+barPitch*(float64(j)+0.5), "peer"
			if IsOurs(row.Name) {
				class = "ours"
			}
			if i == 0 {
				body.text(x-8, y+4, "end", strings.TrimSuffix(class, "peer"), row.Name)
			}
			fmt.Fprintf(body, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"15\" class=\"%s\"/>\n", x, y-7.5,
				v.Median*unit, class)
			end := max(v.Median, min(v.Q3, highest))
			if v.Q1 != v.Q3 {
				body.line(x+v.Q1*unit, y, x+end*unit, y, "whisker")
				body.line(x+v.Q1*unit, y-2.5, x+v.Q1*unit, y+2.5, "whisker")
				body.line(x+end*unit, y-2.5, x+end*unit, y+2.5, "whisker")
			}
			at := x + end*unit
			if one := x + unit; !c.Times && at < one && at+40 > one {
				at = one // not across the dashed line
			}
			body.text(at+4, y+4, "start", "", c.label(v.Median))
		}
		if !c.Times {
			body.line(x+unit, top, x+unit, bottom, "axis")
		}
	}
}
