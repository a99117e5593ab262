// Package backfill compares ways to copy one column to another while 500 updates a second change
// random rows, and measures how pgmigrate/backfill treats replicas and the death of its worker.
package backfill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/pgmigrate/backfill"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// Comparison is the package's entry in the list of comparisons.
var Comparison = harness.Comparison{Name: "backfill", Rounds: 1, Run: run}

// TenMillion adds a table of 10,000,000 rows.
var TenMillion bool

const (
	perSecond = 500
	file      = "-- pgmigrate:backfill table=public.rows key=id\n" +
		"update rows set new = old where id between $1 and $2"
	loopBatch = `update rows set new = old
where id in (select id from rows where new is null order by id limit 1000)`
)

func run(ctx context.Context, r *harness.Report, rounds int) error {
	if url := os.Getenv(workerURL); url != "" {
		return work(ctx, url)
	}
	sizes := []int{10_000, 100_000, 1_000_000}
	if TenMillion {
		sizes = append(sizes, 10_000_000)
	}
	return runWith(ctx, r, rounds, sizes)
}

func runWith(ctx context.Context, r *harness.Report, rounds int, sizes []int) error {
	url, drop, err := harness.Database(ctx)
	if err != nil {
		return err
	}
	defer drop()
	err = harness.Session(ctx, url, func(conn *pgx.Conn) error { return speeds(ctx, r, conn, rounds, sizes) })
	if err != nil {
		return err
	}
	lasting := sizes[min(1, len(sizes)-1)] // the smallest is copied before a standby lags
	if err := lag(ctx, r, lasting); err != nil {
		return err
	}
	return kill(ctx, r, lasting)
}

// speeds prints rows a second and the longest stall of an update.
func speeds(ctx context.Context, r *harness.Report, conn *pgx.Conn, rounds int, sizes []int) error {
	type way struct {
		name string
		most int // of rows; 0 for any number
		run  func(context.Context) error
	}
	ways := []way{
		{"one UPDATE", 0, func(ctx context.Context) error {
			_, err := conn.Exec(ctx, "update rows set new = old")
			return err
		}},
		{"loop, pauses of 100 ms", 100_000, func(ctx context.Context) error {
			return loop(ctx, conn, 100*time.Millisecond)
		}},
		{"loop without pauses", 100_000, func(ctx context.Context) error { return loop(ctx, conn, 0) }},
	}
	for _, workers := range []int{1, 2, 4} {
		name := "backfill"
		if workers > 1 {
			name = fmt.Sprintf("backfill, %d workers", workers)
		}
		ways = append(ways, way{name, 0, func(ctx context.Context) error {
			runner, err := newRunner(conn.Config(), backfill.Options{Workers: workers})
			if err != nil {
				return err
			}
			return errors.Join(runner.Restart(ctx, "copy"), runner.Run(ctx, "copy"))
		}})
	}
	pool, err := harness.Pool(ctx, conn.Config().ConnString(), 20)
	if err != nil {
		return err
	}
	defer pool.Close()
	var cells [][]string
	for _, rows := range sizes {
		rates, stalls := make([][]float64, len(ways)), make([][]time.Duration, len(ways))
		for range rounds * max(1, 100_000/rows) { // small tables are quick, and their times spread
			for _, i := range rand.Perm(len(ways)) {
				if ways[i].most > 0 && rows > ways[i].most {
					continue
				}
				if err := fill(ctx, conn, rows); err != nil {
					return err
				}
				took, longest, err := harness.LongestStall(ctx, time.Second/perSecond, func(ctx context.Context) error {
					_, err := pool.Exec(ctx, "update rows set counter = counter + 1 where id = $1", rand.N(rows)+1)
					return err
				}, ways[i].run)
				if err != nil {
					return fmt.Errorf("%s: %w", ways[i].name, err)
				}
				rates[i] = append(rates[i], float64(rows)/took.Seconds())
				stalls[i] = append(stalls[i], longest)
			}
		}
		for i, w := range ways {
			if len(rates[i]) > 0 {
				cells = append(cells, []string{
					fmt.Sprint(rows), w.name, fmt.Sprintf("%.0f", harness.Quantile(rates[i], 0.5)),
					harness.Quantile(stalls[i], 0.5).Round(time.Millisecond).String(),
				})
			}
		}
	}
	r.Grid(fmt.Sprintf("A column is copied while %d updates a second change random rows; medians of %d rounds, and of "+
		"ten times as many of 10,000 rows, %s", perSecond, rounds, harness.Cores()),
		[]string{"rows", "way", "rows a second", "longest stall of an update"}, cells...)
	return nil
}

func newRunner(cfg *pgx.ConnConfig, opts backfill.Options) (*backfill.Runner, error) {
	opts.Logger = slog.New(slog.DiscardHandler)
	return backfill.New(cfg, fstest.MapFS{"copy.sql": {Data: []byte(file)}}, opts)
}

// fill recreates the table. Its counter keeps updates as short as an application's.
func fill(ctx context.Context, conn *pgx.Conn, rows int) error {
	for _, sql := range []string{
		`drop table if exists rows`,
		`create table rows (id bigint primary key, old text not null, new text, counter int not null default 0)`,
		`create index on rows (id) where new is null`,
		fmt.Sprintf("insert into rows select i, md5(i::text) from generate_series(1, %d) i", rows),
		`vacuum analyze rows`,
		`checkpoint`,
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

func loop(ctx context.Context, conn *pgx.Conn, pause time.Duration) error {
	for {
		tag, err := conn.Exec(ctx, loopBatch)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		time.Sleep(pause) // the pace of the loop that is measured
	}
}

// lag prints how far a standby with a slow link falls behind during a single UPDATE, and during a
// backfill that waits for the standby.
func lag(ctx context.Context, r *harness.Report, rows int) error {
	const linkPerSecond, limit = 4 << 20, 4 << 20
	t := &harness.Test{Ctx: ctx}
	return t.Run(func() error {
		server, url := harness.StartServer(t, map[string]string{"max_wal_size": "4GB", "wal_keep_size": "4GB"})
		standby := server.Standby(t, nil)
		standby.Link().Rate(fault.FromServer, linkPerSecond)
		var cells [][]string
		err := harness.Session(ctx, url, func(conn *pgx.Conn) error {
			for _, way := range []struct {
				name string
				run  func() error
			}{
				{"one UPDATE", func() error {
					_, err := conn.Exec(ctx, "update rows set new = old")
					return err
				}},
				{"backfill, MaxLag 4 MiB", func() error {
					runner, err := newRunner(conn.Config(), backfill.Options{MaxLag: limit})
					if err != nil {
						return err
					}
					return runner.Run(ctx, "copy")
				}},
			} {
				if err := fill(ctx, conn, rows); err != nil {
					return err
				}
				standby.CatchUp(t)
				began := time.Now()
				most, err := mostLag(ctx, url, way.run)
				if err != nil {
					return fmt.Errorf("%s: %w", way.name, err)
				}
				took := time.Since(began)
				standby.CatchUp(t)
				cells = append(cells, []string{
					way.name, fmt.Sprintf("%.1f MiB", float64(most)/(1<<20)), harness.Short(took).String(),
					harness.Short(time.Since(began)).String(),
				})
			}
			return nil
		})
		if err != nil {
			return err
		}
		r.Grid(fmt.Sprintf("%d rows are copied while a standby receives %d MiB a second, %s", rows, linkPerSecond>>20,
			harness.Cores()), []string{"way", "most lag", "done after", "standby has it after"}, cells...)
		return nil
	})
}

// mostLag returns the maximum lag of the standby while fn ran, in bytes of WAL.
func mostLag(ctx context.Context, url string, fn func() error) (most int64, err error) {
	done := make(chan error, 1)
	go func() { done <- fn() }()
	err = harness.Session(ctx, url, func(conn *pgx.Conn) error {
		for {
			var behind int64
			err := conn.QueryRow(ctx, "select coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)), 0)"+
				"::bigint from pg_stat_replication").Scan(&behind)
			if err != nil {
				return errors.Join(err, <-done)
			}
			most = max(most, behind)
			select {
			case err := <-done:
				return err
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	return most, err
}

// workerURL is a variable that makes this program a backfill worker on that database.
const workerURL = "BENCH_BACKFILL_URL"

// work runs the backfill in a process that will be killed. After three batches it waits for that.
func work(ctx context.Context, url string) error {
	cfg, err := harness.ConnConfig(url)
	if err != nil {
		return err
	}
	batches := 0
	worker, err := newRunner(cfg, backfill.Options{Progress: func(backfill.Status) {
		if batches++; batches == 3 {
			<-ctx.Done()
		}
	}})
	if err != nil {
		return err
	}
	return worker.Run(ctx, "copy")
}

// kill kills a worker's process. It prints the time until the next worker has finished its first
// batch, and the number of rows that were skipped or copied twice.
func kill(ctx context.Context, r *harness.Report, rows int) error {
	url, drop, err := harness.Database(ctx)
	if err != nil {
		return err
	}
	defer drop()
	return harness.Session(ctx, url, func(conn *pgx.Conn) error {
		if err := fill(ctx, conn, rows); err != nil {
			return err
		}
		// A trigger counts how often a committed batch copied each row.
		_, err := conn.Exec(ctx, `create function count_copies() returns trigger language plpgsql as
				'begin new.counter = new.counter + 1; return new; end';
			create trigger count_copies before update on rows for each row execute function count_copies()`)
		if err != nil {
			return err
		}
		var before, missing, twice int
		err = harness.KillChild(ctx, "backfill", []string{workerURL + "=" + url}, func() (bool, error) {
			err := conn.QueryRow(ctx, "select count(*) from rows where new is not null").Scan(&before)
			return before > 0, err
		})
		if err != nil {
			return err
		}
		var first time.Duration
		began := time.Now()
		next, err := newRunner(conn.Config(), backfill.Options{Progress: func(backfill.Status) {
			if first == 0 {
				first = time.Since(began)
			}
		}})
		if err != nil {
			return err
		}
		if err := next.Run(ctx, "copy"); err != nil {
			return err
		}
		if err := conn.QueryRow(ctx, `select count(*) filter (where new is null), count(*) filter (where counter > 1)
			from rows`).Scan(&missing, &twice); err != nil {
			return err
		}
		r.Printf("\nkill -9 of a worker after some %d of %d rows: the next one has done its first batch after %s; in "+
			"the end %d rows are missing and %d were copied twice\n", before, rows, harness.Short(first), missing,
			twice)
		return nil
	})
}
