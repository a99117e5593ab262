package render

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"strings"

	"github.com/yuin/goldmark"

	"github.com/page-builder/persistence/examples/pages/db"
)

//go:embed page.html preview.js
var sources embed.FS

// layout escapes its values. inline is the one exception, and there goldmark drops HTML in its
// input.
var layout = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"inline": inline, "phrase": phrase,
}).ParseFS(sources, "page.html", "preview.js"))

// page is a published page, rendered.
type page struct {
	revision int32
	etag     string
	html     []byte // the document
	main     []byte // the part that a preview replaces
}

// view holds the values that the layout shows.
type view struct {
	Site, Title string
	Revision    int32
	Blocks      []block
	Preview     bool
	Path        string
}

// block is one piece of content; which fields it has depends on its type.
type block struct {
	Type    string    `json:"type"`
	Text    string    `json:"text"`
	Title   string    `json:"title"`
	Level   int       `json:"level"`
	Ordered bool      `json:"ordered"`
	Items   []string  `json:"items"`
	Cite    string    `json:"cite"`
	Tone    string    `json:"tone"`
	Asset   string    `json:"asset"`
	Alt     string    `json:"alt"`
	Caption string    `json:"caption"`
	Blocks  []block   `json:"blocks"`
	Columns [][]block `json:"columns"`
}

func newPage(site db.Site, row db.CurrentPublicationRow) (*page, error) {
	v := view{Site: site.Name, Title: row.Title, Revision: row.Revision}
	if err := json.Unmarshal(row.Blocks, &v.Blocks); err != nil {
		return nil, fmt.Errorf("blocks of %s, revision %d: %w", row.Path, row.Revision, err)
	}
	html, err := v.render("page.html")
	if err != nil {
		return nil, err
	}
	main, err := v.render("main")
	if err != nil {
		return nil, err
	}
	return &page{revision: row.Revision, etag: `"` + row.ID.String() + `"`, html: html, main: main}, nil
}

func (v view) render(name string) ([]byte, error) {
	var b bytes.Buffer
	if err := layout.ExecuteTemplate(&b, name, v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// phrase is inline without the paragraph around it.
func phrase(text string) (template.HTML, error) {
	html, err := inline(text)
	if s := strings.TrimSpace(string(html)); strings.Count(s, "<p>") == 1 {
		html = template.HTML(strings.TrimSuffix(strings.TrimPrefix(s, "<p>"),
			"</p>")) // goldmark's, as below
	}
	return html, err
}

// inline turns the links and emphasis of a paragraph into HTML.
func inline(text string) (template.HTML, error) {
	var b bytes.Buffer
	if err := goldmark.Convert([]byte(text), &b); err != nil {
		return "", err
	}
	return template.HTML(b.String()), nil // goldmark escapes, and omits raw HTML and javascript: links
}
