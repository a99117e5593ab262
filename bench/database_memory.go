package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// memory watches what the databases of a run take on the server, in memory where its files are on tmpfs.
func memory(ctx context.Context, url string, run func() error) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var (
		most, bytes, one int64
		done             = make(chan error, 1)
	)
	go func() { done <- run() }()
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
			from pg_database where datname ~ '^pgtest_'`).Scan(&n, &sum, &largest)
		if err == nil {
			most, bytes, one = max(most, n), max(bytes, sum), max(one, largest)
		}
	}
}
