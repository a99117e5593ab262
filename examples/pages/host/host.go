// Package host is the authors' side of the example: an HTTP API in JSON for pages, their revisions
// and their publications.
//
//	GET    /sites/{site}/pages          the tree
//	GET    /sites/{site}/list           state, author, text, since; sort, size, cursor; details=1
//	GET    /                            for a browser: the sites
//	GET    /sites/{site}/table          for a browser: the list
//	GET    /pages/{page}/editor         for a browser: a form with a preview
//	POST   /sites/{site}/pages          create: {parent_id, slug, title, blocks, position}
//	GET    /pages/{page}                the page with its newest revision
//	PUT    /pages/{page}                edit: {title, blocks}; needs If-Match
//	PATCH  /pages/{page}                change what is given: {parent_id, slug, status, position}
//	DELETE /pages/{page}                hide it and the pages below it
//	POST   /pages/{page}/restore        bring it back
//	POST   /pages/{page}/publications   put online: {revision}, 0 or nothing for the newest
//	DELETE /pages/{page}/publications   take offline
//	POST   /pages/{page}/rollback       put the former revision online again
//	GET    /pages/{page}/revisions      all saved states, newest first
//	GET    /pages/{page}/audit          who did what to it, newest first
//
// A page's ETag is the number of its revision: If-Match takes the one that the editor saw.
// Publications and rollbacks take an Idempotency-Key.
//
// An error is application/problem+json. The header X-Actor names the actor, percent-encoded if the
// name is not ASCII. A real service takes it from its login.
package host

import (
	"context"
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/examples/pages/db"
	"github.com/page-builder/persistence/examples/pages/service"
	"github.com/page-builder/persistence/pgotel"
	"github.com/page-builder/persistence/pgpool/replica"
)

// Run returns a function that serves the API until ctx ends. preview is the URL of render, for the
// editor; "" is none.
func Run(preview string) func(ctx context.Context, opts service.Options) error {
	return func(ctx context.Context, opts service.Options) error {
		opts.Name = "host"
		return service.Run(ctx, opts, func(cluster *replica.Cluster) (service.App, error) {
			return service.App{Handler: routes(&api{cluster.Primary(), cluster.Reader, preview})}, nil
		})
	}
}

// New returns the API on pool. [Run] explains preview.
func New(pool *pgxpool.Pool, preview string) http.Handler {
	return routes(&api{pool, func(context.Context) *pgxpool.Pool { return pool }, preview})
}

func routes(a *api) http.Handler {
	r := chi.NewRouter()
	r.NotFound(func(w http.ResponseWriter, _ *http.Request) {
		problem{Status: http.StatusNotFound, Title: "no such resource"}.write(w)
	})
	for pattern, fn := range map[string]func(*http.Request) (answer, error){
		"GET /sites/{site}/pages":           a.tree,
		"GET /sites/{site}/list":            a.list,
		"POST /sites/{site}/pages":          a.create,
		"GET /pages/{page}":                 a.read,
		"PUT /pages/{page}":                 a.edit,
		"PATCH /pages/{page}":               a.change,
		"DELETE /pages/{page}":              a.remove,
		"POST /pages/{page}/restore":        a.restore,
		"POST /pages/{page}/publications":   a.publish,
		"DELETE /pages/{page}/publications": a.unpublish,
		"POST /pages/{page}/rollback":       a.rollBack,
		"GET /pages/{page}/revisions":       a.revisions,
		"GET /pages/{page}/audit":           a.audit,
	} {
		r.Handle(pattern, handler(fn))
	}
	r.Get("/", a.index)
	r.Get("/sites/{site}/table", a.table)
	r.Get("/pages/{page}/editor", a.editor)
	return r
}

type api struct {
	pool    *pgxpool.Pool
	reader  func(context.Context) *pgxpool.Pool // for what may be a moment old
	preview string
}

// queries returns the queries of sqlc, with the route in their text.
func (a *api) queries(r *http.Request) *db.Queries { return db.New(tag(r, a.pool)) }

// tag has pg_stat_activity and the server's log say which route a query is from.
func tag(r *http.Request, pool *pgxpool.Pool) pgotel.Querier {
	route := r.Method + " " + chi.RouteContext(r.Context()).RoutePattern()
	return pgotel.Tag(pool, pgotel.Tags{Application: "host", Route: route})
}
