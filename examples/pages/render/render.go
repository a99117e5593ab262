// Package render is the readers' side of the example: it serves published pages as HTML.
//
//	GET /{path}             the page, from a cache that NOTIFY keeps fresh
//	GET /preview/{path}     the same, and it follows each publication without a reload
//	GET /events?path={path} server-sent events for the preview
//	GET /assets/{name}      a picture
//
// Three rules keep the cache correct. A page that is read while a notification arrives is not kept
// (see cache.go). After each connect of the listener everything is read again, because it has
// missed the notifications in between. And a page is kept under the site and path that
// notifications name.
package render

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/examples/pages/db"
	"github.com/page-builder/persistence/examples/pages/fernhill"
	"github.com/page-builder/persistence/examples/pages/service"
	"github.com/page-builder/persistence/pgotel"
	"github.com/page-builder/persistence/pgpool/listen"
	"github.com/page-builder/persistence/pgpool/replica"
)

// DefaultSite is the slug of the example's own site.
const DefaultSite = "fernhill"

// Run returns a function that serves the site of that slug until ctx ends; "" is [DefaultSite].
func Run(site string) func(ctx context.Context, opts service.Options) error {
	if site == "" {
		site = DefaultSite
	}
	return func(ctx context.Context, opts service.Options) error {
		opts.Name = "render"
		log := opts.Logger
		if log == nil {
			log = slog.Default()
		}
		listener, err := listen.New(opts.Database, listen.WithLogger(log))
		if err != nil {
			return err
		}
		opts.Listener = listener
		return service.Run(ctx, opts, func(cluster *replica.Cluster) (service.App, error) {
			pool := cluster.Primary() // on a replica a notification could arrive before its page
			found, err := db.New(pool).SiteBySlug(ctx, site)
			if errors.Is(err, pgx.ErrNoRows) {
				err = errors.New("there is none: import it, or set PAGES_SITE to the slug of one that exists")
			}
			if err != nil {
				return service.App{}, fmt.Errorf("site %q: %w", site, err)
			}
			r := New(pool, found)
			if err := listener.Handle("page_published", r.notified, r.resync); err != nil {
				return service.App{}, err
			}
			return service.App{Handler: r.routes(), Background: func(ctx context.Context) error {
				defer r.viewers.close()
				return listener.Listen(ctx)
			}}, nil
		})
	}
}

// Renderer serves one site.
type Renderer struct {
	pool    *pgxpool.Pool
	site    db.Site
	cache   cache
	viewers viewers
	files   fs.FS
}

// New returns a renderer of a site on pool.
func New(pool *pgxpool.Pool, site db.Site) *Renderer {
	r := &Renderer{pool: pool, site: site, files: fernhill.Files()}
	r.cache.load = r.load
	return r
}

func (r *Renderer) routes() http.Handler {
	router := chi.NewRouter()
	router.Get("/events", r.serveEvents)
	router.Get("/assets/{name}", r.serveAsset)
	router.Get("/preview", r.servePreview)
	router.Get("/preview/*", r.servePreview)
	router.Get("/*", r.servePage)
	return router
}

// load reads what visitors of a path see now.
func (r *Renderer) load(ctx context.Context, path string) (*page, error) {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	q := db.New(pgotel.Tag(r.pool, pgotel.Tags{Application: "render", Action: "load"}))
	row, err := q.CurrentPublication(ctx, db.CurrentPublicationParams{SiteID: r.site.ID, Path: path})
	if err != nil {
		return nil, err
	}
	return newPage(r.site, row)
}

// published is the payload of the channel page_published; the schema's trigger makes it.
type published struct {
	SiteID   uuid.UUID `json:"site_id"`
	Path     string    `json:"path"`
	Revision *int32    `json:"revision"` // null: nothing is online there any more
}

func (r *Renderer) notified(_ context.Context, n *pgconn.Notification) error {
	var p published
	if err := json.Unmarshal([]byte(n.Payload), &p); err != nil {
		return fmt.Errorf("payload of page_published: %w", err)
	}
	if p.SiteID == r.site.ID {
		r.cache.forget(p.Path)
		r.viewers.tell(p.Path)
	}
	return nil
}

// resync runs after each connect of the listener. What was notified before is lost, so nothing kept
// can be trusted.
func (r *Renderer) resync(context.Context, *pgx.Conn) error {
	r.cache.forgetAll()
	r.viewers.tellAll()
	return nil
}
