package main

import (
	"bytes"
	"fmt"
	"html"
	"image/color"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// chart is a drawing of some of a run's figures. The same figures give the same bytes.
type chart struct {
	comparison string
	file       string // without .svg
	title      string
	alt        string // what it says, for those who cannot see it
	svg        []byte
}

// The card is white by itself, so that it reads in a dark page too.
var (
	white  = color.RGBA{0xff, 0xff, 0xff, 0xff}
	border = color.RGBA{0xd0, 0xd7, 0xde, 0xff}
	faint  = color.RGBA{0xea, 0xee, 0xf2, 0xff}
	ink    = color.RGBA{0x1f, 0x23, 0x28, 0xff}
	muted  = color.RGBA{0x59, 0x63, 0x6e, 0xff}
	blue   = color.RGBA{0x09, 0x69, 0xda, 0xff} // ours
	grey   = color.RGBA{0xaf, 0xb8, 0xc1, 0xff} // everybody else
)

const (
	cardWidth = 640 * vg.Length(1)
	margin    = 16 * vg.Length(1)
	headRoom  = 52 * vg.Length(1) // of a card's title and the line below it
)

// isOurs says whether a side is one of this repository's modules.
func isOurs(side string) bool {
	for _, module := range []string{"pgtx", "pgpool", "pgtest", "pgmigrate", "pghealth"} {
		if after, ok := strings.CutPrefix(side, module); ok && !strings.HasPrefix(after, "db") { // pgtestdb is a peer
			return true
		}
	}
	return false
}

func letters(size vg.Length, c color.Color, x text.XAlignment, y text.YAlignment) text.Style {
	return text.Style{
		Color: c, Font: font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, size),
		XAlign: x, YAlign: y, Handler: plot.DefaultTextHandler,
	}
}

// card draws a title with a line below it, and leaves the rest of the height to body.
func card(title, below, alt string, height vg.Length, body func(draw.Canvas) error) ([]byte, error) {
	svg := vgsvg.NewWith(vgsvg.UseWH(cardWidth, headRoom+height))
	c := draw.New(svg)
	corners := []vg.Point{c.Min, {X: c.Max.X, Y: c.Min.Y}, c.Max, {X: c.Min.X, Y: c.Max.Y}, c.Min}
	c.FillPolygon(white, corners)
	c.StrokeLines(draw.LineStyle{Color: border, Width: 1}, corners)
	heading := letters(14, ink, text.XLeft, text.YTop)
	heading.Font.Weight = 2 // bold
	c.FillText(heading, vg.Point{X: margin, Y: c.Max.Y - 12}, title)
	c.FillText(letters(10, muted, text.XLeft, text.YTop), vg.Point{X: margin, Y: c.Max.Y - 33}, below)
	if err := body(draw.Crop(c, margin, -margin, margin/2, -headRoom)); err != nil {
		return nil, fmt.Errorf("draw %q: %w", title, err)
	}
	var out bytes.Buffer
	if _, err := svg.WriteTo(&out); err != nil {
		return nil, err
	}
	return accessible(out.Bytes(), title, alt), nil
}

// accessible adds what vgsvg has no words for: a title, a description, and typefaces for those who
// lack the first; Arial has its widths.
func accessible(svg []byte, title, alt string) []byte {
	const last = `xmlns:xlink="http://www.w3.org/1999/xlink">`
	svg = bytes.Replace(svg, []byte(last), []byte(strings.TrimSuffix(last, ">")+
		` role="img" aria-labelledby="title desc">`+
		"\n<title id=\"title\">"+html.EscapeString(title)+"</title>\n<desc id=\"desc\">"+
		html.EscapeString(alt)+"</desc>"), 1)
	return bytes.ReplaceAll(svg, []byte("font-family:Liberation Sans;"),
		[]byte("font-family:'Liberation Sans',Arial,Helvetica,sans-serif;"))
}
