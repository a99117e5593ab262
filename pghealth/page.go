package pghealth

import (
	"bytes"
	"fmt"
	"html"
	"maps"
	"mime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// prefersHTML reports whether an Accept header names HTML and ranks it above JSON, as browsers do.
// Wildcards are JSON's: curl and kube-probe send them.
func prefersHTML(accept string) bool {
	if !strings.Contains(accept, "html") {
		return false
	}
	var page, data float64
	for part := range strings.SplitSeq(accept, ",") {
		kind, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q := 1.0
		if v, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(v, 64); err != nil {
				continue
			}
		}
		switch kind {
		case "text/html", "application/xhtml+xml":
			page = max(page, q)
		case mediaType, "application/json":
			data = max(data, q)
		}
	}
	return page > data
}

// pageHead has no script, and nothing to load: Content-Security-Policy forbids both.
const pageHead = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>%[1]s</title>
<style>body{font:1em system-ui,sans-serif;margin:2em}table{border-collapse:collapse;margin:1em 0}
td,th{border:1px solid #8888;padding:.3em .6em;text-align:left;vertical-align:top}
.pass{color:#161}.warn{color:#850}.fail{color:#b00}</style></head>
<body><h1 class="%[1]s">%[1]s</h1>
`

// page is the answer for a browser.
func (a answer) page() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, pageHead, a.Status)
	if len(a.Checks) > 0 {
		b.WriteString("<table><tr><th>check<th>status<th>category<th>output<th>observed<th>figures<th>since<th>time</tr>\n")
		for _, name := range slices.Sorted(maps.Keys(a.Checks)) {
			for _, e := range a.Checks[name] {
				fmt.Fprintf(&b, `<tr><td>%s<td class="%[2]s">%[2]s<td>%s<td>%s<td>%s<td>%s<td>%s<td>%s</tr>`+"\n",
					html.EscapeString(name), e.Status, html.EscapeString(string(e.Category)), html.EscapeString(e.Output),
					html.EscapeString(e.observed()), html.EscapeString(e.numbers()), clock(e.Since), clock(e.Time))
			}
		}
		b.WriteString("</table>\n")
	}
	for _, section := range slices.Sorted(maps.Keys(a.Verbose)) {
		rows(&b, section, a.Verbose[section])
	}
	rows(&b, "info", a.Info)
	b.WriteString("</body></html>\n")
	return b.Bytes()
}

func rows[V any](b *bytes.Buffer, title string, values map[string]V) {
	if len(values) == 0 {
		return
	}
	fmt.Fprintf(b, "<h2>%s</h2><table>\n", html.EscapeString(title))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(b, "<tr><th>%s<td>%s</tr>\n", html.EscapeString(key), html.EscapeString(fmt.Sprint(values[key])))
	}
	b.WriteString("</table>\n")
}

func (e entry) observed() string {
	if e.ObservedValue == nil {
		return ""
	}
	return strconv.FormatFloat(*e.ObservedValue, 'f', -1, 64) + " " + e.ObservedUnit
}

func (e entry) numbers() string {
	var list []string
	for _, key := range slices.Sorted(maps.Keys(e.Figures)) {
		list = append(list, key+" "+strconv.FormatInt(e.Figures[key], 10))
	}
	return strings.Join(list, ", ")
}

func clock(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format(time.RFC3339)
}
