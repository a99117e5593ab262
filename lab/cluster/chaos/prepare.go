package chaos

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/replica"
	"github.com/page-builder/persistence/pgtx"
)

func (r *round) prepare(ctx context.Context) (err error) {
	environ := Environ()
	maps.Copy(environ, r.system.Environ)
	if r.cfg, err = pgconfig.LoadFrom(pgconfig.Source{Environ: environ}); err != nil {
		return err
	}
	if r.migration, err = newMigration(r.cfg, r.schema); err != nil {
		return err
	}
	if r.cluster, err = replica.Open(ctx, r.cfg, pgpool.WithLogger(r.Logger), pgpool.WithTracer(&r.conns)); err != nil {
		return err
	}
	if r.plain, err = plainPool(ctx, environ); err != nil {
		return err
	}
	primary := r.cluster.Primary()
	if r.readiness, err = newReadiness(primary); err != nil {
		return err
	}
	name := func(table string) string { return pgx.Identifier{r.schema, table}.Sanitize() }
	r.ours = []*side{verified(primary, r.schema), keyed(primary, r.schema)}
	r.control = naive(r.plain, r.schema)
	r.reading = &reading{cluster: r.cluster, table: name("written")}
	r.events = &events{
		pool: primary, table: name("events"), channel: r.schema, written: map[int64]time.Time{},
		got: map[int64]time.Time{},
	}
	r.floor = &floor{nodes: r.system.Nodes, sql: `insert into ` + name("floor") + ` values ($1, clock_timestamp())`}
	return r.onPrimary(ctx, r.create)
}

// plainPool makes the control's pool from DATABASE_URL, with pgx's defaults.
func plainPool(ctx context.Context, environ map[string]string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(environ["DATABASE_URL"])
	if err != nil {
		return nil, errors.New("DATABASE_URL does not parse") // err may quote the password
	}
	cfg.MaxConns = workers
	if environ["DATABASE_PGBOUNCER"] != "" {
		cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe // or it does not work at all
	}
	return pgxpool.NewWithConfig(ctx, cfg)
}

func (r *round) create(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, `create schema `+pgx.Identifier{r.schema}.Sanitize()); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, `create table `+pgx.Identifier{r.schema, "floor"}.Sanitize()+
		` (node int, at timestamptz)`); err != nil {
		return err
	}
	var there bool
	if err := conn.QueryRow(ctx, `select to_regclass('pgtx_idempotency_keys') is not null`).Scan(&there); err != nil {
		return err
	}
	if !there {
		if _, err := conn.Exec(ctx, pgtx.IdempotencyTableSQL); err != nil {
			return err
		}
	}
	for _, s := range append(r.ours, r.control) {
		if err := s.create(ctx, conn); err != nil {
			return err
		}
	}
	if err := r.reading.create(ctx, conn); err != nil {
		return err
	}
	return r.events.create(ctx, conn)
}

// onPrimary runs fn on a connection to the server that is primary now.
func (r *round) onPrimary(ctx context.Context, fn func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, recoverLimit)
	defer cancel()
	url, err := r.system.Primary(ctx)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer closeSoon(ctx, conn)
	return fn(ctx, conn)
}

// close ends everything and drops the round's schema.
func (r *round) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	r.readiness.probe.Close()
	r.plain.Close()
	if err := r.cluster.Shutdown(ctx); err != nil {
		r.step("shutdown: %v", err)
	}
	if err := r.onPrimary(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `drop schema `+pgx.Identifier{r.schema}.Sanitize()+` cascade`)
		return err
	}); err != nil {
		r.step("drop the schema: %v", err)
	}
}
