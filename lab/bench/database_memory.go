package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// memory watches what the databases of this process take on the server, in memory where its files
// are on tmpfs, while eight tests run at a time.
func memory(ctx context.Context, r *report, url string, w way) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var (
		ours string // pgtest_TOKEN_ begins the names of a process's databases
		size int64
	)
	t := &test{ctx: ctx}
	err = t.run(func() error {
		pool, err := w.open(t)
		if err == nil {
			err = pool.QueryRow(ctx, "select pg_database_size(current_database())").Scan(&size)
			ours = strings.Join(strings.SplitAfterN(pool.Config().ConnConfig.Database, "_", 3)[:2], "")
		}
		return err
	})
	if err != nil {
		return err
	}
	var most int64
	done := make(chan error, 1)
	go func() {
		_, err := w.many(ctx, 8, 80)
		done <- err
	}()
	for {
		select {
		case err := <-done:
			r.printf("\n8 tests at a time: at most %d databases of %d MB at the same time\n", most, size>>20)
			return err
		case <-time.After(5 * time.Millisecond):
		}
		var n int64
		if err := conn.QueryRow(ctx, "select count(*) from pg_database where starts_with(datname, $1)",
			ours).Scan(&n); err != nil {
			return errors.Join(err, <-done)
		}
		most = max(most, n)
	}
}
