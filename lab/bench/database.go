package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing/fstest"
	"time"

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
	name := "bench_" + strings.ToLower(rand.Text())
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

// way is one of the ways to a migrated database for a test.
type way struct {
	name string
	open func(*test) (*pgxpool.Pool, error)
}

// databases compares pgtest with pgtestdb alone, on the same server, with the same 20 tables. A
// time ends when the first query is answered.
func databases(ctx context.Context, r *report, rounds int) error {
	server, err := pgserver.Acquire(ctx, pgserver.Options{})
	if err != nil {
		return err
	}
	defer server.Release()
	ways, err := waysToDatabase(ctx, server)
	if err != nil {
		return err
	}
	if name := os.Getenv(singleTest); name != "" {
		for _, w := range ways {
			if w.name == name {
				_, err := w.once(ctx, 0)
				return err
			}
		}
	}
	if err := memory(ctx, r, server.URL(), ways[1]); err != nil { // before the others make databases in this process
		return err
	}
	if err := floor(ctx, r, server.URL(), server.DatabaseURL, rounds); err != nil {
		return err
	}
	for _, w := range ways { // the template, and the first copies
		for range 4 {
			_, _ = w.once(ctx, 0) // what fails here fails again below
		}
	}
	err = inTurn(ctx, r, "A database and a first query, in tests with 50 ms of own work, one at a time", rounds, ways,
		func(w way) (time.Duration, error) {
			return w.once(ctx, 50*time.Millisecond)
		})
	if err != nil {
		return err
	}
	for _, workers := range []int{8, 32} {
		title := fmt.Sprintf("The same without own work, %d at a time, time for a test with its drop", workers)
		err := inTurn(ctx, r, title, (rounds+9)/10, ways, func(w way) (time.Duration, error) {
			return w.many(ctx, workers, 10*workers)
		})
		if err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil || strings.HasSuffix(self, ".test") {
		return err
	}
	err = inTurn(ctx, r, "A process with a single test, server and template already there", rounds, ways[:2],
		func(w way) (time.Duration, error) {
			cmd := exec.CommandContext(ctx, self, "database")
			cmd.Env = append(os.Environ(), singleTest+"="+w.name)
			cmd.Stderr = os.Stderr
			began := time.Now()
			err := cmd.Run()
			return time.Since(began), err
		})
	if err != nil {
		return err
	}
	return firstQuery(ctx, r, (rounds+9)/10)
}

// singleTest makes this program a process with one test, by the way that it names.
const singleTest = "BENCH_SINGLE_TEST"

func waysToDatabase(ctx context.Context, server *pgserver.Server) ([]way, error) {
	alone, err := pgtestdbAlone(ctx, server.URL())
	if err != nil {
		return nil, err
	}
	schema := fstest.MapFS{}
	for i := range 20 {
		schema[fmt.Sprintf("%03d_t.sql", i+1)] = &fstest.MapFile{
			Data: fmt.Appendf(nil, "create table t%d (id bigint primary key, v text);", i),
		}
	}
	return []way{
		alone,
		{"pgtest", func(t *test) (*pgxpool.Pool, error) { return pgtest.New(t, pgtest.Migrations(schema)), nil }},
	}, nil
}

// pgtestdbAlone is pgtestdb without pgtest, on the server of serverURL.
func pgtestdbAlone(ctx context.Context, serverURL string) (way, error) {
	u, err := url.Parse(serverURL)
	if err != nil {
		return way{}, errors.New("the server's URL cannot be parsed")
	}
	// pgtestdb remembers for the life of the process which roles and templates it has made, by the
	// role's name and not by the server. The throw-away server may have been started again since
	// the last comparison, so each server gets a role with a name of its own.
	role := pgtestdb.DefaultRole()
	err = session(ctx, serverURL, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "select $1 || '_' || (extract(epoch from pg_postmaster_start_time()) * 1e6)::bigint",
			role.Username).Scan(&role.Username)
	})
	if err != nil {
		return way{}, err
	}
	conf := pgtestdb.Config{
		DriverName: "pgx", Host: "localhost", Port: "5432", User: "postgres", Database: "postgres", Options: u.RawQuery,
		TestRole: &role, ForceTerminateConnections: true,
	}
	return way{"pgtestdb", func(t *test) (*pgxpool.Pool, error) {
		pool, err := pgxpool.New(ctx, pgtestdb.Custom(t, conf, twentyTables{}).URL())
		if err == nil {
			t.Cleanup(pool.Close)
		}
		return pool, err
	}}, nil
}

// once runs one test and returns how long it waited for its database's first answer.
func (w way) once(ctx context.Context, work time.Duration) (ready time.Duration, err error) {
	t := &test{ctx: ctx}
	began := time.Now()
	err = t.run(func() error {
		pool, err := w.open(t)
		if err != nil {
			return err
		}
		var n int
		err = pool.QueryRow(ctx, "select count(*) from t0").Scan(&n)
		ready = time.Since(began)
		time.Sleep(work)
		return err
	})
	return ready, err
}

// many runs tests at the same time and returns the time for each.
func (w way) many(ctx context.Context, workers, tests int) (time.Duration, error) {
	began := time.Now()
	todo, errs := make(chan struct{}, tests), make(chan error, workers)
	for range tests {
		todo <- struct{}{}
	}
	close(todo)
	for range workers {
		go func() {
			var first error
			for range todo {
				if _, err := w.once(ctx, 0); err != nil && first == nil {
					first = err
				}
			}
			errs <- first
		}()
	}
	var err error
	for range workers {
		err = errors.Join(err, <-errs)
	}
	return time.Since(began) / time.Duration(tests), err
}

// inTurn measures each way once in every round, in random order, and reports them. A way that fails
// is reported as failed; the error is that of ctx.
func inTurn(
	ctx context.Context, r *report, title string, rounds int, ways []way, fn func(way) (time.Duration, error),
) error {
	rows := make([]measuredSide, len(ways))
	for i, w := range ways {
		rows[i].name = w.name
	}
	err := takeTurns(ctx, 0, rounds, rows, func(i int, _ bool) (time.Duration, error) { return fn(ways[i]) })
	if err != nil {
		return err
	}
	r.add(title, rounds, 1, rows)
	return nil
}
