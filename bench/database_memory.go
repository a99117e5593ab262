package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// memory watches what the databases of this process take on the server, in memory where its files are on tmpfs, while eight
// tests run at a time.
func memory(ctx context.Context, url string, w way) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var ours string // pgtest_TOKEN_ begins the names of a process's databases
	t := &test{ctx: ctx}
	err = t.run(func() error {
		pool, err := w.open(t)
		if err == nil {
			ours = strings.Join(strings.SplitAfterN(pool.Config().ConnConfig.Database, "_", 3)[:2], "")
		}
		return err
	})
	if err != nil {
		return err
	}
	var most, bytes, one int64
	done := make(chan error, 1)
	go func() {
		_, err := w.many(ctx, 8, 80)
		done <- err
	}()
	for {
		select {
		case err := <-done:
			fmt.Printf("\n8 tests at a time: at most %d databases of %d MB, %d MB in all, at the same time\n", most, one>>20, bytes>>20)
			return err
		case <-time.After(5 * time.Millisecond):
		}
		var n, sum, largest int64
		// A database that is dropped in the same moment has no size: look again.
		err := conn.QueryRow(ctx, `select count(*), coalesce(sum(pg_database_size(oid)), 0)::bigint, coalesce(max(pg_database_size(oid)), 0)
			from pg_database where starts_with(datname, $1)`, ours).Scan(&n, &sum, &largest)
		if err == nil {
			most, bytes, one = max(most, n), max(bytes, sum), max(one, largest)
		}
	}
}
