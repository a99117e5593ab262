package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/lab/cluster"
	"github.com/page-builder/persistence/migrations"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/replica"
	"github.com/page-builder/persistence/pgtx"
)

// story is the state of a demo that runs.
type story struct {
	out     io.Writer
	c       *cluster.Cluster
	writers []*writer
	cleanup []func()
}

// demo starts a cluster, kills its primary, and prints what programs see of that.
func demo(ctx context.Context, out io.Writer) (err error) {
	s := &story{out: out}
	s.title("Three nodes under Patroni, etcd, HAProxy, PgBouncer; one node follows synchronously")
	began := time.Now()
	if s.c, err = cluster.Start(ctx, cluster.Options{}); err != nil {
		return err
	}
	defer func() {
		for _, fn := range s.cleanup {
			defer fn()
		}
		defer func() { err = errors.Join(err, s.c.Stop()) }()
	}()
	primary, err := s.c.Primary(ctx)
	if err != nil {
		return err
	}
	standby, err := s.c.SyncStandby(ctx)
	if err != nil {
		return err
	}
	s.say("ready after %s: %s is the primary, %s the synchronous standby", since(began), primary, standby)
	for _, part := range []func(context.Context) error{s.migrate, s.connect, s.read, s.kill} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	s.title("All of it is gone after this. To keep one: go tool mage cluster:up")
	return nil
}

// migrate changes the schema on a connection that bypasses PgBouncer.
func (s *story) migrate(ctx context.Context) error {
	ways := s.c.Env().Ways()
	cfg, err := load(ways[len(ways)-1])
	if err != nil {
		return err
	}
	direct, err := cfg.DirectConfig()
	if err != nil {
		return err
	}
	migrator, err := pgmigrate.New(direct, migrations.FS, pgmigrate.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	result, err := migrator.Up(ctx)
	if err != nil {
		return err
	}
	s.title("Migrations past PgBouncer, by DIRECT_DATABASE_URL")
	s.say("%d migrations, to version %d", len(result.Steps), result.To)
	return nil
}

// connect opens a pool for each way to connect.
func (s *story) connect(ctx context.Context) error {
	s.title("Three ways to connect, by environment variables alone")
	for _, way := range s.c.Env().Ways() {
		cfg, err := load(way)
		if err != nil {
			return err
		}
		w, err := newWriter(ctx, way.Name, cfg)
		if err != nil {
			return fmt.Errorf("%s: %w", way.Name, err)
		}
		s.cleanup = append(s.cleanup, w.close)
		s.writers = append(s.writers, w)
		at, err := s.where(ctx, w.pool)
		if err != nil {
			return err
		}
		s.say("%-14s leads to %s", way.Name, at)
	}
	return nil
}

// read writes, and reads its own write from a standby.
func (s *story) read(ctx context.Context) error {
	s.title("Reads from standbys that show one's own writes")
	env := s.c.Env()
	cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: map[string]string{
		"DATABASE_URL": env.MultiHost, "DATABASE_REPLICA_URLS": strings.Join(env.Nodes, ","),
	}})
	if err != nil {
		return err
	}
	db, err := replica.Open(ctx, cfg, pgpool.WithLogger(nil))
	if err != nil {
		return err
	}
	defer func() { _ = db.Shutdown(context.WithoutCancel(ctx)) }()
	err = pgtx.Run(ctx, db.Primary(), func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "insert into health_checks (component, status, latency_ms) values ('demo', 'up', 1)")
		return err
	})
	if err != nil {
		return err
	}
	token, err := db.Token(ctx)
	if err != nil {
		return err
	}
	usable := func() (n int) {
		for _, r := range db.Replicas() {
			if r.Err == nil {
				n++
			}
		}
		return n
	}
	for deadline := time.Now().Add(10 * time.Second); usable() < len(env.Nodes)-1 && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	reader := db.Reader(replica.WithToken(ctx, token))
	var n int
	if err := reader.QueryRow(ctx, "select count(*) from health_checks where component = 'demo'").Scan(&n); err != nil {
		return err
	}
	at, err := s.where(ctx, reader)
	if err != nil {
		return err
	}
	if n != 1 {
		return fmt.Errorf("%s shows %d of 1 rows", at, n)
	}
	s.say("%d standbys are in use; with the token of the commit, %s shows the row", usable(), at)
	return nil
}

// where returns the node that a pool is connected to.
func (s *story) where(ctx context.Context, pool *pgxpool.Pool) (string, error) {
	var port uint16
	var standby bool
	if err := pool.QueryRow(ctx, "select inet_server_port(), pg_is_in_recovery()").Scan(&port, &standby); err != nil {
		return "", err
	}
	role := "the primary"
	if standby {
		role = "a standby"
	}
	for _, n := range s.c.Nodes() {
		if config, err := pgx.ParseConfig(n.URL); err == nil && config.Port == port {
			return n.Name + ", " + role, nil
		}
	}
	return "", fmt.Errorf("no node is on port %d", port)
}

func load(way cluster.Way) (pgconfig.Config, error) {
	return pgconfig.LoadFrom(pgconfig.Source{Environ: way.Environ})
}

func (s *story) title(text string) { fmt.Fprintf(s.out, "\n%s\n", text) }

func (s *story) say(format string, args ...any) { fmt.Fprintf(s.out, "  "+format+"\n", args...) }

func since(t time.Time) string { return fmt.Sprintf("%.1f s", time.Since(t).Seconds()) }
