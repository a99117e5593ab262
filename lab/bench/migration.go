package main

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The second statement cannot run in a transaction, the third needs ACCESS EXCLUSIVE.
var statements = []string{
	"create table pages (id int primary key)",
	"create index concurrently pages_id on pages (id)",
	"alter table pages add title text",
}

// migrations compares pgmigrate with other tools: how many of ten instances that start at once
// succeed, how long queries stall behind a migration that waits for a transaction of 5 s, and what
// a start costs that finds nothing to do.
func migrations(ctx context.Context, r *report, rounds int) error {
	url, drop, err := database(ctx)
	if err != nil {
		return err
	}
	defer drop()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return errors.New("the throw-away server's URL cannot be parsed")
	}
	admin, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer admin.Close(context.WithoutCancel(ctx))
	reset := func() error {
		_, err := admin.Exec(ctx,
			"drop schema public cascade; create schema public; drop schema if exists pgmigrate cascade")
		return err
	}

	r.printf("\nten instances at once on an empty database, one index built concurrently, five times; the slowest " +
		"query behind a migration that waits 5 s\n\n")
	r.printf("| %-20s | %-17s | %9s | %13s |\n|%s|%s|%s|%s|\n", "", "succeeded", "complete", "longest stall",
		dashes(22), dashes(19), dashes(11), dashes(15))
	var (
		stalls []measuredSide
		said   []string // the distinct failures of each tool
	)
	for _, t := range tools {
		var succeeded []string
		var failures []string
		complete := 0
		for range 5 {
			if err := reset(); err != nil {
				return err
			}
			n, failed := atOnce(ctx, cfg, t)
			succeeded, failures = append(succeeded, strconv.Itoa(n)), append(failures, failed...)
			var all bool
			if err := admin.QueryRow(ctx,
				`select count(*) = 1 and exists (select from pg_attribute where attrelid = to_regclass('pages')
					and attname = 'title')
from pg_index where indexrelid = to_regclass('pages_id') and indisvalid`).Scan(&all); err != nil {
				return err
			}
			if all {
				complete++
			}
		}
		if err := reset(); err != nil {
			return err
		}
		longest, err := stall(ctx, cfg, t)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		stalls = append(stalls, measuredSide{name: t.name, failed: err, timesByRound: []time.Duration{longest}})
		stalled := short(longest).String()
		if err != nil {
			stalled = "failed"
		}
		r.printf("| %-20s | %-17s | %6d of 5 | %13s |\n", t.name, strings.Join(succeeded, ", "), complete, stalled)
		slices.Sort(failures)
		for _, f := range slices.Compact(failures) {
			said = append(said, t.name+": "+f)
		}
	}
	r.printf("\n")
	for _, f := range said {
		r.printf("- %s\n", f)
	}
	r.explainFailures(stalls)
	r.gather(stallTitle, 1, stalls)

	sides := make([]side, 0, len(tools))
	if err := reset(); err != nil {
		return err
	}
	repeatable := []string{"create table if not exists pages (id int)", "select 1"} // by several tools on one database
	for _, t := range tools {
		sides = append(sides, side{t.name, func(ctx context.Context) error { return t.up(ctx, cfg, repeatable) }})
	}
	return compare(ctx, r, "a start that finds nothing to do, connecting included", rounds, 5, sides...)
}

// atOnce starts ten instances on an empty database, each of which has a minute.
func atOnce(ctx context.Context, cfg *pgx.ConnConfig, t tool) (succeeded int, failures []string) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	errs := make([]error, 10)
	var instances sync.WaitGroup
	for i := range errs {
		instances.Go(func() { errs[i] = t.up(ctx, cfg, statements) })
	}
	instances.Wait()
	for _, err := range errs {
		if err == nil {
			succeeded++
			continue
		}
		text, _, _ := strings.Cut(err.Error(), "\n")
		failures = append(failures, text)
	}
	return succeeded, failures
}

// stall returns how long the slowest of 100 queries a second took while the tool's last migration
// met a transaction of 5 s.
func stall(ctx context.Context, cfg *pgx.ConnConfig, t tool) (time.Duration, error) {
	if err := t.up(ctx, cfg, statements[:2]); err != nil {
		return 0, err
	}
	blocker, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return 0, err
	}
	defer blocker.Close(context.WithoutCancel(ctx))
	if _, err := blocker.Exec(ctx, "begin; select * from pages"); err != nil {
		return 0, err
	}
	poolConfig, err := pgxpool.ParseConfig("")
	if err != nil {
		return 0, err
	}
	poolConfig.ConnConfig, poolConfig.MaxConns = cfg.Copy(), 40
	pool, err := pgxpool.NewWithConfig(ctx, poolConfig)
	if err != nil {
		return 0, err
	}
	defer pool.Close()

	done := make(chan error, 1)
	go func() { done <- t.up(ctx, cfg, statements) }()
	free := time.After(5 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var (
		mu       sync.Mutex
		longest  time.Duration
		failed   error
		queries  sync.WaitGroup
		finished bool
	)
	for !finished {
		select {
		case err = <-done:
			finished = true
		case <-free:
			if _, err := blocker.Exec(ctx, "commit"); err != nil {
				return 0, err
			}
		case due := <-tick.C:
			queries.Go(func() {
				_, err := pool.Exec(ctx, "select count(*) from pages")
				mu.Lock()
				defer mu.Unlock()
				failed = errors.Join(failed, err)
				longest = max(longest, time.Since(due))
			})
		}
	}
	queries.Wait()
	return longest, errors.Join(err, failed)
}
