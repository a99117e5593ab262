package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// migrations by their number, from an empty database and with nothing to do. Each tool has a
// database of its own for each number.
func (g growth) migrations(ctx context.Context) error {
	admin, err := pgx.Connect(ctx, g.url)
	if err != nil {
		return err
	}
	defer admin.Close(context.WithoutCancel(ctx))
	tools := slices.DeleteFunc(slices.Clone(tools), func(t tool) bool { return t.name == "goose, session lock" })
	names := make([]string, len(tools))
	for i, t := range tools {
		names[i] = t.name
	}
	var fromEmpty, nothing []load
	for _, n := range g.sizes(20, 100, 500) {
		statements := make([]string, n)
		for i := range statements {
			statements[i] = fmt.Sprintf("create table t%d (id bigint primary key, v text)", i)
		}
		up := func(i int) (time.Duration, error) {
			cfg := admin.Config()
			cfg.Database = migrated(i, n)
			began := time.Now()
			err := tools[i].up(ctx, cfg, statements)
			return time.Since(began), err
		}
		fromEmpty = append(fromEmpty, load{
			size: n, work: n, atOnce: 1, ops: 1, names: names,
			time: func(i int) (time.Duration, error) {
				for _, sql := range []string{"drop database if exists %s with (force)", "create database %s"} {
					if _, err := admin.Exec(ctx, fmt.Sprintf(sql, migrated(i, n))); err != nil {
						return 0, err
					}
				}
				return up(i)
			},
		})
		nothing = append(nothing, load{size: n, work: 1, atOnce: 1, ops: 1, names: names, time: up})
	}
	c := &curve{what: "migrations from an empty database", unit: "migrations", per: "migration"}
	if err := g.measure(ctx, c, g.url, g.share(10), fromEmpty); err != nil {
		return err
	}
	c.summary(g.report)
	// On the databases that are left.
	c = &curve{what: "a start that finds nothing to do", unit: "migrations", per: "start"}
	if err := g.measure(ctx, c, g.url, g.share(5), nothing); err != nil {
		return err
	}
	c.summary(g.report)
	return nil
}

// migrated names the database of a tool for n migrations.
func migrated(tool, n int) string { return fmt.Sprintf("migrated_%d_%d", tool, n) }

// databases for tests, by how many tests run at the same time. Their server is the throw-away one,
// because pgtest is used as it is.
func (g growth) databases(ctx context.Context) error {
	server, err := pgserver.Acquire(ctx, pgserver.Options{})
	if err != nil {
		return err
	}
	defer server.Release()
	ways, err := waysToDatabase(ctx, server)
	if err != nil {
		return err
	}
	names := make([]string, len(ways))
	for i, w := range ways {
		names[i] = w.name
	}
	var loads []load
	for _, n := range g.sizes(1, 4, 16, 64) {
		tests := max(2*n, 16)
		loads = append(loads, load{
			size: n, work: 1, atOnce: n, ops: tests, names: names,
			time: func(i int) (time.Duration, error) {
				return ways[i].many(ctx, n, tests)
			},
		})
	}
	c := &curve{what: "a test database with a query and its drop", unit: "tests at a time", per: "test"}
	if err := g.measure(ctx, c, server.URL(), g.share(10), loads); err != nil {
		return err
	}
	c.summary(g.report)
	return nil
}
