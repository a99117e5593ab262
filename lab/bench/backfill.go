package main

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgmigrate/backfill"
)

// backfillRows are the sizes of the table. The largest takes minutes.
var backfillRows = []int{10_000, 100_000, 1_000_000}

const (
	loadPerSecond = 500
	backfillFile  = `-- pgmigrate:backfill table=public.rows key=id
update rows set new = old where id between $1 and $2`
	loopBatch = `update rows set new = old
where id in (select id from rows where new is null order by id limit 1000)`
)

// backfills compares three ways to copy one column to another while 500 updates a second change
// random rows: one statement, a loop of 1,000 rows a batch with pauses of 100 ms, and
// pgmigrate/backfill.
func backfills(ctx context.Context, r *report, rounds int) error {
	url, drop, err := database(ctx)
	if err != nil {
		return err
	}
	defer drop()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return errors.New("the throw-away server's URL cannot be parsed")
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	ways := []struct {
		name string
		most int // of rows; 0 for any number
		run  func(context.Context) error
	}{
		{"one UPDATE", 0, func(ctx context.Context) error {
			_, err := conn.Exec(ctx, "update rows set new = old")
			return err
		}},
		{"loop, pauses of 100 ms", 100_000, func(ctx context.Context) error {
			return loop(ctx, conn, 100*time.Millisecond)
		}},
		{"loop without pauses", 100_000, func(ctx context.Context) error { return loop(ctx, conn, 0) }},
		{"backfill", 0, func(ctx context.Context) error {
			fsys := fstest.MapFS{"copy.sql": {Data: []byte(backfillFile)}}
			runner, err := backfill.New(cfg, fsys, backfill.Options{Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				return err
			}
			if err := runner.Restart(ctx, "copy"); err != nil {
				return err
			}
			return runner.Run(ctx, "copy")
		}},
	}
	r.printf("\na column is copied while %d updates a second change random rows; medians of %d rounds\n\n",
		loadPerSecond, rounds)
	r.printf("| rows | way | rows a second | longest stall of an update |\n|---|---|---|---|\n")
	for _, rows := range backfillRows {
		rates, stalls := make([][]float64, len(ways)), make([][]time.Duration, len(ways))
		for range rounds {
			for _, i := range rand.Perm(len(ways)) {
				if ways[i].most > 0 && rows > ways[i].most {
					continue
				}
				if err := fillRows(ctx, conn, rows); err != nil {
					return err
				}
				took, longest, err := underLoad(ctx, cfg, rows, ways[i].run)
				if err != nil {
					return err
				}
				rates[i] = append(rates[i], float64(rows)/took.Seconds())
				stalls[i] = append(stalls[i], longest)
			}
		}
		for i, w := range ways {
			if len(rates[i]) == 0 {
				continue
			}
			r.printf("| %d | %s | %.0f | %s |\n", rows, w.name, quantile(rates[i], 0.5),
				quantile(stalls[i], 0.5).Round(time.Millisecond))
		}
	}
	return nil
}

func fillRows(ctx context.Context, conn *pgx.Conn, rows int) error {
	_, err := conn.Exec(ctx, `
drop table if exists rows;
create table rows (id bigint primary key, old text not null, new text, counter int not null default 0);
create index on rows (id) where new is null`)
	if err == nil {
		_, err = conn.Exec(ctx, "insert into rows select i, md5(i::text) from generate_series(1, $1) i", rows)
	}
	if err == nil {
		_, err = conn.Exec(ctx, "vacuum analyze rows")
	}
	if err == nil {
		_, err = conn.Exec(ctx, "checkpoint")
	}
	return err
}

func loop(ctx context.Context, conn *pgx.Conn, pause time.Duration) error {
	for {
		tag, err := conn.Exec(ctx, loopBatch)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		time.Sleep(pause)
	}
}

// underLoad returns how long run took, and the longest that an update took meanwhile, from when it
// was due.
func underLoad(
	ctx context.Context, cfg *pgx.ConnConfig, rows int, run func(context.Context) error,
) (took, longest time.Duration, err error) {
	poolConfig, err := pgxpool.ParseConfig("")
	if err != nil {
		return 0, 0, err
	}
	poolConfig.ConnConfig, poolConfig.MaxConns, poolConfig.MinConns = cfg.Copy(), 20, 20
	pool, err := pgxpool.NewWithConfig(ctx, poolConfig)
	if err != nil {
		return 0, 0, err
	}
	defer pool.Close()
	done := make(chan error, 1)
	began := time.Now()
	go func() { done <- run(ctx) }()
	tick := time.NewTicker(time.Second / loadPerSecond)
	defer tick.Stop()
	var (
		mu      sync.Mutex
		failed  error
		updates sync.WaitGroup
	)
	for {
		select {
		case err := <-done:
			took = time.Since(began)
			updates.Wait()
			return took, longest, errors.Join(err, failed)
		case due := <-tick.C:
			updates.Go(func() {
				_, err := pool.Exec(ctx, "update rows set counter = counter + 1 where id = $1", rand.N(rows)+1)
				mu.Lock()
				defer mu.Unlock()
				failed = errors.Join(failed, err)
				longest = max(longest, time.Since(due))
			})
		}
	}
}
