package harness

import (
	"fmt"
	"html"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// drawing is an SVG of some of a run's figures. Equal figures give equal bytes.
type drawing struct {
	comparison, file string
	title            string
	alt              string // description for readers who cannot see it
	svg              []byte
}

// style has a color for light and one for dark pages: a browser chooses by the reader's setting.
const style = `<style>
text { font: 11px 'Liberation Sans', Arial, Helvetica, sans-serif; fill: #1f2328 }
.title { font-size: 14px; font-weight: bold }
.small { font-size: 10px; fill: #59636e }
.card { fill: #ffffff; stroke: #d0d7de }
.grid { stroke: #eaeef2 } .axis { stroke: #59636e; stroke-dasharray: 3 3 } .whisker { stroke: #1f2328 }
.ours { fill: #0969da } .peer { fill: #afb8c1 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small { fill: #9198a1 } .card { fill: #0d1117; stroke: #3d444d }
.grid { stroke: #262c36 } .axis { stroke: #9198a1 } .whisker { stroke: #e6edf3 }
.ours { fill: #4493f8 } .peer { fill: #656c76 }
}
</style>
`

const (
	cardWidth = 640.0
	margin    = 16.0
	headRoom  = 52.0 // for a card's title and the line below it
)

// canvas collects the elements of an SVG.
type canvas struct{ strings.Builder }

func (c *canvas) text(x, y float64, anchor, class, text string) {
	fmt.Fprintf(c, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">%s</text>\n", x, y, anchor, class,
		html.EscapeString(text))
}

func (c *canvas) line(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(c, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1, x2, y2, class)
}

// card returns the SVG with a frame, a title and a line below it.
func (c *canvas) card(title, below, alt string, height float64) []byte {
	var out canvas
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%g" height="%g" viewBox="0 0 %[1]g %[2]g"
	role="img" aria-labelledby="title desc">
<title id="title">%[3]s</title>
<desc id="desc">%[4]s</desc>
%[5]s`, cardWidth, height, html.EscapeString(title), html.EscapeString(alt), style)
	fmt.Fprintf(&out, "<rect x=\"0.5\" y=\"0.5\" width=\"%g\" height=\"%g\" class=\"card\"/>\n", cardWidth-1, height-1)
	out.text(margin, 24, "start", "title", title)
	out.text(margin, 42, "start", "small", below)
	return []byte(out.String() + c.String() + "</svg>\n")
}

// width estimates how wide a text is drawn.
func width(text string) float64 { return 6.1 * float64(utf8.RuneCountInString(text)) }

// charts draws the charts with measured tables.
func (r *Report) charts() []drawing {
	var drawn []drawing
	for _, s := range r.sections {
		for _, c := range s.comparison.Charts {
			if svg, alt := c.draw(r.Tables); svg != nil {
				drawn = append(drawn, drawing{s.comparison.Name, c.File, c.Title, alt, svg})
			}
		}
	}
	return drawn
}

func tableOf(all []Table, title string) (Table, bool) {
	at := slices.IndexFunc(all, func(t Table) bool { return t.Title == title })
	if at < 0 {
		return Table{}, false
	}
	return all[at], true
}

// steps returns at most five round numbers from 0.
func steps(highest float64) (all []float64) {
	step := 0.5
	for _, next := range []float64{1, 2, 5, 10, 20, 50, 100, 200, 500} {
		if highest/step > 5 {
			step = next
		}
	}
	for v := 0.0; v <= highest; v += step {
		all = append(all, v)
	}
	return all
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// FileName turns a title into the name of a file, without an extension.
func FileName(title string) string {
	return strings.Trim(notInNames.ReplaceAllString(strings.ToLower(title), "-"), "-")
}
