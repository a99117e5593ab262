package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/peterldowns/pgtestdb"

	"github.com/page-builder/persistence/pgtest"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// database makes an empty database on the throw-away server.
func database(ctx context.Context) (string, func(), error) {
	server, err := pgserver.Acquire(ctx, pgserver.Options{})
	if err != nil {
		return "", nil, err
	}
	name := fmt.Sprintf("bench_%d", os.Getpid())
	admin := func(sql string) error {
		conn, err := pgx.Connect(context.WithoutCancel(ctx), server.URL())
		if err != nil {
			return err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		_, err = conn.Exec(context.WithoutCancel(ctx), sql)
		return err
	}
	if err := admin("create database " + name); err != nil {
		server.Release()
		return "", nil, err
	}
	return server.DatabaseURL(name), func() {
		if err := admin("drop database " + name + " with (force)"); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		server.Release()
	}, nil
}

// databases compares pgtest with pgtestdb alone, on the same server, with the same migrations: a database, a pool, a first
// query, and the drop.
func databases(ctx context.Context, rounds int) error {
	server, err := pgserver.Acquire(ctx, pgserver.Options{})
	if err != nil {
		return err
	}
	defer server.Release()
	u, err := url.Parse(server.URL())
	if err != nil {
		return err
	}
	conf := pgtestdb.Config{
		DriverName: "pgx", Host: "localhost", Port: "5432", User: "postgres", Database: "postgres", Options: u.RawQuery,
		ForceTerminateConnections: true,
	}
	schema := fstest.MapFS{}
	for i := range 20 {
		schema[fmt.Sprintf("%03d_t.sql", i+1)] = &fstest.MapFile{Data: fmt.Appendf(nil, "create table t%d (id bigint primary key, v text);", i)}
	}
	first := func(ctx context.Context, pool *pgxpool.Pool) error {
		var n int
		return pool.QueryRow(ctx, "select count(*) from t0").Scan(&n)
	}
	return compare(ctx, "A migrated database for a test, from nothing to dropped", rounds, 3,
		side{"pgtestdb", func(ctx context.Context) error {
			t := &test{ctx: ctx}
			return t.run(func() error {
				pool, err := pgxpool.New(ctx, pgtestdb.Custom(t, conf, twentyTables{}).URL())
				if err != nil {
					return err
				}
				defer pool.Close()
				return first(ctx, pool)
			})
		}},
		side{"pgtest", func(ctx context.Context) error {
			t := &test{ctx: ctx}
			return t.run(func() error { return first(ctx, pgtest.New(t, pgtest.Migrations(schema))) })
		}},
	)
}
