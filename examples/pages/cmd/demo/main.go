// Command demo shows the modules at work, from an empty database to published pages. It starts its
// own PostgreSQL, or uses DATABASE_URL, migrates it, imports a site, and publishes, breaks,
// retries, queries and probes. It takes no arguments and exits with 0 if everything worked.
//
// With DATABASE_URL it changes that database. It refuses one that holds other tables.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/examples/pages/throwaway"
	"github.com/page-builder/persistence/pgconfig"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "\ndemo: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	s := &story{out: out, began: time.Now(), log: slog.New(slog.DiscardHandler)}
	defer s.end()
	if err := s.openDatabase(ctx); err != nil {
		return err
	}
	for _, part := range []func(context.Context) error{
		s.migrate, s.connect, s.listen, s.importSite, s.failHalfway, s.publish, s.services, s.retry,
		s.query, s.probe, s.figures,
		s.rollBackAndForth,
	} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	s.farewell()
	return nil
}

// openDatabase chooses the database for the story.
func (s *story) openDatabase(ctx context.Context) error {
	if !throwaway.Wanted() {
		s.title("The database of DATABASE_URL")
		cfg, err := pgconfig.Load()
		if err != nil {
			return err
		}
		s.cfg = cfg
		return s.describeServer(ctx)
	}
	s.title("A PostgreSQL server of our own, for this demo only")
	began := time.Now()
	url, remove, err := throwaway.Open(ctx, "demo")
	if err != nil {
		return err
	}
	s.atEnd(func() {
		if err := remove(); err != nil {
			fmt.Fprintln(os.Stderr, "demo: remove the database:", err)
		}
	})
	s.say("ready in %s, on a Unix socket in a private directory; no port, no password, removed afterwards",
		since(began))
	s.own = true
	if s.cfg, err = pgconfig.Parse(url); err != nil {
		return err
	}
	return s.describeServer(ctx)
}

// describeServer connects once, to show the database before any change.
func (s *story) describeServer(ctx context.Context) error {
	direct, err := s.cfg.DirectConfig()
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, direct)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var version string
	var foreign []string
	err = conn.QueryRow(ctx, `
		select split_part(current_setting('server_version'), ' ', 1), array(
			select format('%I.%I', schemaname, tablename) from pg_tables
			where schemaname not in ('pg_catalog', 'information_schema', 'pgmigrate') and tablename <> all ($1)
			order by 1)`,
		[]string{
			"schema_version", "sites", "pages", "page_revisions", "assets", "publications",
			"audit_events", "health_checks",
		},
	).Scan(&version, &foreign)
	if err != nil {
		return err
	}
	s.say("PostgreSQL %s, database %s", version, direct.Database)
	if len(foreign) > 0 {
		return errors.New("the database has tables that are not the demo's (" +
			strings.Join(foreign[:min(len(foreign), 3)], ", ") +
			" …): give it an empty one, or unset DATABASE_URL to let it start a server of its own")
	}
	return nil
}
