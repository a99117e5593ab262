package host

import (
	"embed"
	"html/template"
	"log/slog"
	"net/http"
)

//go:embed index.html table.html editor.html
var htmlFiles embed.FS

var htmlPages = template.Must(template.ParseFS(htmlFiles, "*.html"))

// index lists the sites.
func (a *api) index(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := withLimit(r)
	defer cancel()
	sites, err := a.queries(r).ListSites(ctx)
	if err != nil {
		problemOf(ctx, err).write(w)
		return
	}
	a.show(w, r, "index.html", sites)
}

// table shows the list in a browser, with filters, sorts by column, and links to the next and
// previous page.
func (a *api) table(w http.ResponseWriter, r *http.Request) { a.show(w, r, "table.html", nil) }

// editor shows a form for a page with a preview. Its script calls the API.
func (a *api) editor(w http.ResponseWriter, r *http.Request) {
	a.show(w, r, "editor.html", struct{ Preview string }{a.preview})
}

func (a *api) show(w http.ResponseWriter, r *http.Request, name string, data any) {
	policy := "default-src 'self' 'unsafe-inline'"
	if a.preview != "" {
		policy += "; frame-src " + a.preview
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy)
	if err := htmlPages.ExecuteTemplate(w, name, data); err != nil {
		slog.WarnContext(r.Context(), "the page was not sent", "error", err)
	}
}
