package render

import (
	"context"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/examples/pages/db"
	"github.com/page-builder/persistence/pgerr"
)

const (
	// readLimit limits the wait for a page that is not in the cache.
	readLimit = 5 * time.Second
	// beat is how often an event stream shows that it lives: below the idle limits of the usual
	// proxies, 30 to 60 s.
	beat = 15 * time.Second
)

func (r *Renderer) servePage(w http.ResponseWriter, req *http.Request) {
	ctx, cancel := context.WithTimeout(req.Context(), readLimit)
	defer cancel()
	p, err := r.cache.get(ctx, path(req.URL.Path))
	if err != nil {
		refuse(ctx, w, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-cache") // clients may keep it but must revalidate: 304 if it is unchanged
	h.Set("ETag", p.etag)
	h.Set("Vary", "Accept")
	body := p.html
	if fragment(req) {
		body = p.main
	} else if req.Header.Get("If-None-Match") == p.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(body)
}

// fragment reports whether a preview asks for the content alone.
func fragment(req *http.Request) bool {
	_, params, err := mime.ParseMediaType(req.Header.Get("Accept"))
	return err == nil && params["fragment"] == "main"
}

// path is the path of a page, as the database spells it.
func path(p string) string {
	if p = strings.TrimRight(p, "/"); p == "" {
		return "/"
	}
	return p
}

func refuse(ctx context.Context, w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		http.Error(w, "There is no such page.", http.StatusNotFound)
	case ctx.Err() == context.Canceled:
		// The reader went away, which is not an error.
	default:
		slog.ErrorContext(ctx, "a page could not be read", "category", pgerr.Of(err), "error", err)
		w.Header().Set("Retry-After", "1")
		http.Error(w, "The page cannot be shown at the moment.", http.StatusServiceUnavailable)
	}
}

// servePreview answers with the frame; its script fetches the page and follows it.
func (r *Renderer) servePreview(w http.ResponseWriter, req *http.Request) {
	v := view{
		Site: r.site.Name, Title: "Preview", Preview: true, Path: path("/" + strings.Trim(chi.URLParam(req, "*"), "/")),
	}
	html, err := v.render("page.html")
	if err != nil {
		refuse(req.Context(), w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(html)
}

// serveEvents sends an event whenever the page at the path may have changed, until the client or
// the service ends.
func (r *Renderer) serveEvents(w http.ResponseWriter, req *http.Request) {
	changed, end := r.viewers.watch(path(req.URL.Query().Get("path")))
	defer end()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	stream := http.NewResponseController(w)
	send := func(text string) bool {
		_, err := w.Write([]byte(text))
		return err == nil && stream.Flush() == nil
	}
	if !send("retry: 500\n\n") {
		return
	}
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		text := ": alive\n\n"
		select {
		case <-req.Context().Done():
			return
		case _, ok := <-changed:
			if !ok {
				return
			}
			text = "event: changed\ndata: {}\n\n"
		case <-tick.C:
		}
		if !send(text) {
			return
		}
	}
}

// serveAsset sends a file that the site's pages mention. The database says where it is stored.
func (r *Renderer) serveAsset(w http.ResponseWriter, req *http.Request) {
	ctx, cancel := context.WithTimeout(req.Context(), readLimit)
	defer cancel()
	asset, err := db.New(r.pool).AssetByName(ctx,
		db.AssetByNameParams{SiteID: r.site.ID, Name: chi.URLParam(req, "name")})
	if err != nil {
		refuse(ctx, w, err)
		return
	}
	w.Header().Set("Content-Type", asset.MediaType)
	// An SVG may hold a script.
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	http.ServeFileFS(w, req, r.files, asset.Location)
}
