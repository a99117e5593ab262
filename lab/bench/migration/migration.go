// Package migration compares pgmigrate with other tools: how many of ten instances that start at
// once succeed, how long queries stall behind a migration that waits for a transaction of 5 s, and
// the cost of a start with nothing to do.
package migration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/lab/bench/harness"
)

const stallTitle = "The longest stall of a query behind a migration that waits 5 s"

// Comparison is the package's entry in the list of comparisons.
var Comparison = harness.Comparison{
	Name: "migration", Rounds: 10, Run: run,
	Charts: []harness.Chart{{
		File: "migration", Title: "The longest stall of a query while ALTER TABLE waits for a transaction of 5 s",
		Panels: []harness.Panel{{Table: stallTitle, Heading: "seconds, one attempt of each"}}, Times: true,
	}},
	Reasons: []harness.Reason{{
		Table: `a start that finds nothing to do`, Side: `^pgmigrate`,
		Why: "The history and the checksums of what is applied are read and compared.",
	}},
}

// The second statement cannot run in a transaction, the third needs ACCESS EXCLUSIVE.
var statements = []string{
	"create table pages (id int primary key)",
	"create index concurrently pages_id on pages (id)",
	"alter table pages add title text",
}

func run(ctx context.Context, r *harness.Report, rounds int) error {
	url, drop, err := harness.Database(ctx)
	if err != nil {
		return err
	}
	defer drop()
	cfg, err := harness.ConnConfig(url)
	if err != nil {
		return err
	}
	return harness.Session(ctx, url, func(admin *pgx.Conn) error {
		reset := func() error {
			_, err := admin.Exec(ctx,
				"drop schema public cascade; create schema public; drop schema if exists pgmigrate cascade")
			return err
		}
		if err := together(ctx, r, admin, cfg, reset); err != nil {
			return err
		}
		if err := reset(); err != nil {
			return err
		}
		var sides []harness.Side
		repeatable := []string{"create table if not exists pages (id int)", "select 1"} // by several tools
		for _, t := range Tools {
			sides = append(sides, harness.Side{Name: t.Name, Op: func(ctx context.Context) error {
				return t.Up(ctx, cfg, repeatable)
			}})
		}
		return r.Compare(ctx, "a start that finds nothing to do, connecting included", rounds, 5, sides...)
	})
}

// together prints the results of ten instances on an empty database, in five runs, and the longest
// stall.
func together(ctx context.Context, r *harness.Report, admin *pgx.Conn, cfg *pgx.ConnConfig, reset func() error) error {
	stalls := harness.Rows(Names()...)
	var cells [][]string
	var said []string // the distinct failures of each tool
	for i, t := range Tools {
		var succeeded, failures []string
		complete := 0
		for range 5 {
			if err := reset(); err != nil {
				return err
			}
			n, failed := atOnce(ctx, cfg, t)
			succeeded, failures = append(succeeded, strconv.Itoa(n)), append(failures, failed...)
			var all bool
			if err := admin.QueryRow(ctx, `select count(*) = 1 and exists (select from pg_attribute
					where attrelid = to_regclass('pages') and attname = 'title')
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
		stalls[i].Failed, stalls[i].Times = err, []time.Duration{longest}
		stalled := harness.Short(longest).String()
		if err != nil {
			stalled = "failed"
		}
		cells = append(cells,
			[]string{t.Name, strings.Join(succeeded, ", "), fmt.Sprintf("%d of 5", complete), stalled})
		slices.Sort(failures)
		for _, f := range slices.Compact(failures) {
			said = append(said, t.Name+": "+f)
		}
	}
	r.Grid(fmt.Sprintf("ten instances at once on an empty database, %s, one index built concurrently, five times; the "+
		"slowest query behind a migration that waits 5 s", harness.Cores()),
		[]string{"", "succeeded", "complete", "longest stall"}, cells...)
	r.Printf("\n")
	for _, f := range said {
		r.Printf("- %s\n", f)
	}
	r.ExplainFailures(stalls)
	r.Gather(stallTitle, 1, stalls)
	return nil
}

// atOnce starts ten instances on an empty database, with a limit of a minute each.
func atOnce(ctx context.Context, cfg *pgx.ConnConfig, t Tool) (succeeded int, failures []string) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	errs := make([]error, 10)
	var instances sync.WaitGroup
	for i := range errs {
		instances.Go(func() { errs[i] = t.Up(ctx, cfg, statements) })
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

// stall returns the time of the slowest query, at 100 queries a second, while the tool's last
// migration waits for a transaction of 5 s.
func stall(ctx context.Context, cfg *pgx.ConnConfig, t Tool) (time.Duration, error) {
	if err := t.Up(ctx, cfg, statements[:2]); err != nil {
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
	pool, err := harness.Pool(ctx, cfg.ConnString(), 40)
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	_, longest, err := harness.LongestStall(ctx, 10*time.Millisecond, func(ctx context.Context) error {
		_, err := pool.Exec(ctx, "select count(*) from pages")
		return err
	}, func(ctx context.Context) error {
		free := make(chan error, 1)
		time.AfterFunc(5*time.Second, func() {
			_, err := blocker.Exec(ctx, "commit")
			free <- err
		})
		return errors.Join(t.Up(ctx, cfg, statements), <-free)
	})
	return longest, err
}
