package pghealth

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed" // for the page's files
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strings"
	"time"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string

	pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
		"symbol":  pageSymbol,
		"ago":     pageAgo,
		"seconds": func(s float64) string { return humanize(time.Duration(s * float64(time.Second))) },
		"ms":      func(ms int64) string { return humanize(time.Duration(ms) * time.Millisecond) },
	}).Parse(pageHTML))

	// pagePolicy allows the page its own style and script, and requests to its own origin. Nothing
	// is loaded from elsewhere.
	pagePolicy = "default-src 'none'; style-src " + pageHash(pageCSS) + "; script-src " + pageHash(pageJS) +
		"; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// pageHash is the source expression of an inline style or script.
func pageHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// pageData holds everything that the template shows.
type pageData struct {
	Style   template.CSS
	Script  template.JS
	Icon    template.URL
	Now     time.Time
	Service string
	Status  status
	Word    string
	Summary string
	Groups  []pageGroup
	Info    map[string]string
}

// pageGroup has the checks of one database, or of the application.
type pageGroup struct {
	Name    string
	Rows    []pageRow
	Details *details
}

type pageRow struct {
	Name string
	observation
}

// page returns the answer as HTML.
func (a answer) page(now time.Time) ([]byte, error) {
	data := pageData{
		Style: template.CSS(pageCSS), Script: template.JS(pageJS), // constants of this package
		Now: now.UTC(), Service: cmp.Or(a.service, "Health"), Status: a.Status, Icon: pageIcon(a.Status),
		Info: make(map[string]string, len(a.Info)),
	}
	for key, value := range a.Info {
		data.Info[key] = infoText(value)
	}
	total, counts := 0, make(map[status]int)
	for key, entries := range a.Checks {
		group, name, found := strings.Cut(key, ":")
		if !found {
			group, name = "", key // a check of the application
		}
		i := slices.IndexFunc(data.Groups, func(g pageGroup) bool { return g.Name == group })
		if i < 0 {
			i = len(data.Groups)
			data.Groups = append(data.Groups, pageGroup{Name: group})
			if d, ok := a.Databases[group]; ok {
				data.Groups[i].Details = &d
			}
		}
		for _, e := range entries {
			data.Groups[i].Rows = append(data.Groups[i].Rows, pageRow{name, e})
			total++
			counts[e.Status]++
		}
	}
	order := map[status]int{fail: 0, warn: 1, pass: 2}
	byStatus := func(a, b pageRow) int { return cmp.Compare(order[a.Status], order[b.Status]) }
	for _, g := range data.Groups {
		slices.SortFunc(g.Rows, func(a, b pageRow) int { return cmp.Or(byStatus(a, b), cmp.Compare(a.Name, b.Name)) })
	}
	slices.SortFunc(data.Groups, func(a, b pageGroup) int {
		return cmp.Or(byStatus(a.Rows[0], b.Rows[0]), cmp.Compare(a.Name, b.Name))
	})
	data.Word = map[status]string{pass: "Ready", warn: "Ready, with warnings", fail: "Not ready"}[a.Status]
	switch {
	case total == 0 && a.Status == pass:
		data.Word = "Up"
	case a.Status == pass:
		data.Summary = fmt.Sprintf("all %d checks pass", total)
	case a.Status == warn:
		data.Summary = fmt.Sprintf("%d of %d checks with a warning", counts[warn], total)
	default:
		data.Summary = fmt.Sprintf("%d of %d checks failing", counts[fail], total)
	}
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, data)
	return b.Bytes(), err
}

// infoText returns a value as JSON, because its MarshalJSON may hide a part of it. A string gets no
// quotes.
func infoText(value any) string {
	body, err := json.Marshal(value)
	if err != nil {
		return "cannot be written as JSON"
	}
	var text string
	if body[0] == '"' && json.Unmarshal(body, &text) == nil {
		return text
	}
	return string(body)
}

// pageSymbol shows a status to readers who cannot see its color.
func pageSymbol(s status) string {
	return map[status]string{pass: "✓", warn: "!", fail: "✕"}[s]
}

// pageIcon shows the status in the browser's tab.
func pageIcon(s status) template.URL {
	color := map[status]string{pass: "#0b6b2e", warn: "#8a5200", fail: "#a3121f"}[s]
	svg := fmt.Sprintf("<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'>"+
		"<rect width='32' height='32' rx='8' fill='%s'/>"+
		"<text x='16' y='24' text-anchor='middle' font-family='sans-serif' font-size='22' fill='white'>%s</text></svg>",
		color, pageSymbol(s))
	return template.URL("data:image/svg+xml," + url.PathEscape(svg)) // of constants
}

// pageAgo is the time since t in whole units.
func pageAgo(now, t time.Time) string {
	d := now.Sub(t)
	if d < time.Second {
		return "just now"
	}
	if d < 10*time.Second {
		return fmt.Sprintf("for %d s", d/time.Second)
	}
	return "for " + humanize(d)
}
