package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// floor measures each step that a test database needs, by itself: what no way of doing it goes
// below on this server.
func floor(ctx context.Context, r *report, url string, databaseURL func(string) string, rounds int) (err error) {
	admin, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer admin.Close(context.WithoutCancel(ctx))
	template := fmt.Sprintf("bench_floor_%d", os.Getpid())
	if _, err := admin.Exec(ctx, "create database "+template); err != nil {
		return err
	}
	defer func() {
		_, dropped := admin.Exec(context.WithoutCancel(ctx), "drop database "+template+" with (force)")
		err = errors.Join(err, dropped)
	}()
	for range 2 { // the second session leaves what the first had to read, in a file that is copied
		if err := session(ctx, databaseURL(template), func(conn *pgx.Conn) error {
			for i := range 20 {
				if _, err := conn.Exec(ctx,
					fmt.Sprintf("create table if not exists t%d (id bigint primary key, v text)", i)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	var version int
	if err := admin.QueryRow(ctx, "select current_setting('server_version_num')::int").Scan(&version); err != nil {
		return err
	}
	strategy := ""
	if version >= 150000 { // older ones always copy files
		strategy = " strategy file_copy"
	}
	name := func(i int) string { return fmt.Sprintf("%s_%d", template, i) }
	create := func(conn *pgx.Conn, i int) error {
		_, err := conn.Exec(ctx, "create database "+name(i)+" template "+template+strategy)
		return err
	}
	drop := func(conn *pgx.Conn, i int) error {
		_, err := conn.Exec(ctx, "drop database "+name(i)+" with (force)")
		return err
	}
	steps := []struct {
		name  string
		times []time.Duration
	}{
		{name: "a session of a superuser's"},
		{name: "a copy of the template"},
		{name: "a session on it and its first query"},
		{name: "a second query"},
		{name: "drop, nobody connected"},
		{name: "copy and drop, two at a time, for each"},
	}
	took := func(step int, fn func() error) error {
		began := time.Now()
		err := fn()
		steps[step].times = append(steps[step].times, time.Since(began))
		return err
	}
	query := func(conn *pgx.Conn) error { return conn.QueryRow(ctx, "select count(*) from t0").Scan(new(int)) }
	for i := range rounds {
		var conn *pgx.Conn
		err := errors.Join(
			took(0, func() error { return session(ctx, url, func(*pgx.Conn) error { return nil }) }),
			took(1, func() error { return create(admin, i) }),
			took(2, func() (err error) {
				if conn, err = pgx.Connect(ctx, databaseURL(name(i))); err != nil {
					return err
				}
				return query(conn)
			}))
		if err != nil {
			return err
		}
		err = errors.Join(took(3, func() error { return query(conn) }), conn.Close(ctx))
		time.Sleep(50 * time.Millisecond) // until the session's process has ended: drop would wait longer
		if err := errors.Join(err, took(4, func() error { return drop(admin, i) })); err != nil {
			return err
		}
	}
	if err := took(5, func() error {
		group, ctx := errgroup.WithContext(ctx)
		for worker := range 2 {
			group.Go(func() error {
				return session(ctx, url, func(conn *pgx.Conn) error {
					for i := worker; i < 2*rounds; i += 2 {
						if err := errors.Join(create(conn, i), drop(conn, i)); err != nil {
							return err
						}
					}
					return nil
				})
			})
		}
		return group.Wait()
	}); err != nil {
		return err
	}
	steps[5].times[0] /= time.Duration(2 * rounds)
	r.printf("\nThe steps by themselves (%d rounds)\n\n| %-40s | %10s |\n|%s|%s|\n", rounds, "",
		"median", dashes(42), dashes(12))
	for _, s := range steps {
		r.printf("| %-40s | %10s |\n", s.name, short(quantile(s.times, 0.5)))
	}
	return nil
}

func session(ctx context.Context, url string, fn func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return errors.Join(fn(conn), conn.Close(context.WithoutCancel(ctx)))
}
