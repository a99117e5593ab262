// Command serve runs both services of the example on the database of DATABASE_URL, or on a
// throwaway PostgreSQL. It migrates the schema, imports the example's site if there is none, and
// prints the addresses. It is for a developer's machine. In production a deployment migrates, and
// cmd/host and cmd/render run separately.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/page-builder/persistence/examples/pages"
	"github.com/page-builder/persistence/examples/pages/db"
	"github.com/page-builder/persistence/examples/pages/host"
	"github.com/page-builder/persistence/examples/pages/render"
	"github.com/page-builder/persistence/examples/pages/service"
	"github.com/page-builder/persistence/examples/pages/throwaway"
	"github.com/page-builder/persistence/migrations"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgmigrate"
)

func main() {
	addresses := addresses{}
	flag.StringVar(&addresses.host, "host", "127.0.0.1:8081", "where the authors' API listens")
	flag.StringVar(&addresses.render, "render", "127.0.0.1:8082", "where the pages are served")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Stdout, addresses)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "serve: %v\n", err)
		os.Exit(1)
	}
}

type addresses struct{ host, render string }

func run(ctx context.Context, out io.Writer, at addresses) (err error) {
	var cfg pgconfig.Config
	if throwaway.Wanted() {
		url, remove, openErr := throwaway.Open(ctx, "serve")
		if openErr != nil {
			return openErr
		}
		defer func() { err = errors.Join(err, remove()) }()
		if cfg, err = pgconfig.Parse(url); err != nil {
			return err
		}
	} else if cfg, err = pgconfig.Load(); err != nil {
		return err
	}
	home, err := prepare(ctx, cfg)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	both, ctx := errgroup.WithContext(ctx)
	// start returns the service's URL, or "" if it does not start.
	start := func(address string, run func(context.Context, service.Options) error) string {
		started := make(chan string, 1)
		both.Go(func() error {
			return run(ctx, service.Options{
				Address: address, Database: cfg, Logger: log,
				Started: func(address string) { started <- "http://" + address },
			})
		})
		select {
		case url := <-started:
			return url
		case <-ctx.Done():
			return ""
		}
	}
	if renderURL := start(at.render, render.Run(render.DefaultSite)); renderURL != "" {
		if hostURL := start(at.host, host.Run(renderURL)); hostURL != "" {
			fmt.Fprintf(out, guide, renderURL, renderURL, hostURL, hostURL, home, hostURL, render.DefaultSite,
				hostURL, home, hostURL, home)
		}
	}
	if err := both.Wait(); err != nil {
		if refused := (*net.OpError)(nil); errors.As(err, &refused) && refused.Op == "listen" {
			return fmt.Errorf("%w (-host and -render choose other addresses)", err)
		}
		return err
	}
	return nil
}

const guide = `
the site         %s/
its preview      %s/preview/     follows each publication; leave it open
the authors      %s/     sites, pages, an editor; the home page: %s/pages/%s/editor
the authors' API %s/sites/%s/pages

Edit and publish the home page in the browser or here, and watch the preview:

  curl -s -X PUT %s/pages/%s -H 'If-Match: "1"' -H 'X-Actor: you' \
    -d '{"title": "Hello", "blocks": [{"type": "paragraph", "text": "Edited just now."}]}'
  curl -s -X POST %s/pages/%s/publications -H 'Idempotency-Key: first' -H 'X-Actor: you'

Ctrl-C ends both.
`

// prepare migrates the schema and makes sure that the site exists and is online. It returns the
// home page's id.
func prepare(ctx context.Context, cfg pgconfig.Config) (string, error) {
	direct, err := cfg.DirectConfig()
	if err != nil {
		return "", err
	}
	migrator, err := pgmigrate.New(direct, migrations.FS)
	if err != nil {
		return "", err
	}
	if _, err := migrator.Up(ctx); err != nil {
		return "", err
	}
	conn, err := pgx.ConnectConfig(ctx, direct)
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	q := db.New(conn)
	site, err := q.SiteBySlug(ctx, render.DefaultSite)
	if errors.Is(err, pgx.ErrNoRows) {
		site, err = importSite(ctx, conn)
	}
	if err != nil {
		return "", err
	}
	home, err := q.PageByPath(ctx, db.PageByPathParams{SiteID: site.ID, Path: "/"})
	return home.ID.String(), err
}

func importSite(ctx context.Context, conn *pgx.Conn) (db.Site, error) {
	content, err := pages.Fernhill()
	if err != nil {
		return db.Site{}, err
	}
	site, err := pages.Import(ctx, conn, content, nil)
	if err != nil {
		return site, err
	}
	tree, err := db.New(conn).ListPageTree(ctx, site.ID)
	if err != nil {
		return site, err
	}
	for _, p := range tree {
		if _, err := pages.Publish(ctx, conn,
			pages.Publication{PageID: p.ID, Key: "import/" + p.ID.String(), Actor: "import"}); err != nil {
			return site, err
		}
	}
	return site, nil
}
