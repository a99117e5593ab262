// Package database compares pgtest with plain pgtestdb on the same server and with the same 20
// tables. Each time ends with the answer to the first query.
package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/peterldowns/pgtestdb"

	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/pgtest"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

const alone = "A database and a first query, in tests with 50 ms of own work, one at a time"

// Comparison is the package's entry in the list of comparisons.
var Comparison = harness.Comparison{
	Name: "database", Rounds: 25, Run: run,
	Charts: []harness.Chart{{File: "database", Title: "A migrated database for a test", Panels: []harness.Panel{
		{Table: alone, Heading: "one at a time, until ready"},
		{Table: atATime(8), Heading: "8 at a time, with drop"},
		{Table: atATime(32), Heading: "32 at a time, with drop"},
	}}},
}

func atATime(n int) string {
	return fmt.Sprintf("The same without own work, %d at a time, time for a test with its drop", n)
}

// singleTest is a variable that makes this program run one test in the named way.
const singleTest = "BENCH_SINGLE_TEST"

func run(ctx context.Context, r *harness.Report, rounds int) error {
	server, err := pgserver.Acquire(ctx, pgserver.Options{})
	if err != nil {
		return err
	}
	defer server.Release()
	ways, err := Ways(ctx, server)
	if err != nil {
		return err
	}
	if name := os.Getenv(singleTest); name != "" {
		for _, w := range ways {
			if w.Name == name {
				_, err := w.once(ctx, 0)
				return err
			}
		}
	}
	var names []string
	for _, w := range ways { // warm up the template and the first copies
		for range 4 {
			_, _ = w.once(ctx, 0) // a failure here occurs again below
		}
		names = append(names, w.Name)
	}
	err = r.CompareTimes(ctx, alone, rounds, names, func(i int) (time.Duration, error) {
		return ways[i].once(ctx, 50*time.Millisecond)
	})
	if err != nil {
		return err
	}
	for _, workers := range []int{8, 32} {
		err := r.CompareTimes(ctx, atATime(workers), (rounds+4)/5, names, func(i int) (time.Duration, error) {
			return ways[i].Many(ctx, workers, 4*workers)
		})
		if err != nil {
			return err
		}
	}
	self, err := harness.Executable()
	if err != nil || harness.InTest() {
		return err
	}
	return r.CompareTimes(ctx, "A process with a single test, server and template already there", rounds, names,
		func(i int) (time.Duration, error) {
			cmd := exec.CommandContext(ctx, self, "database")
			cmd.Env = append(os.Environ(), singleTest+"="+names[i])
			cmd.Stderr = os.Stderr
			began := time.Now()
			err := cmd.Run()
			return time.Since(began), err
		})
}

// Way is one way to get a migrated database for a test.
type Way struct {
	Name string
	open func(*harness.Test) (*pgxpool.Pool, error)
}

// Ways returns the compared ways.
func Ways(ctx context.Context, server *pgserver.Server) ([]Way, error) {
	peer, err := pgtestdbAlone(ctx, server.URL())
	if err != nil {
		return nil, err
	}
	schema := fstest.MapFS{}
	for i := range 20 {
		schema[fmt.Sprintf("%03d_t.sql", i+1)] = &fstest.MapFile{Data: []byte(table(i))}
	}
	return []Way{peer, {"pgtest", func(t *harness.Test) (*pgxpool.Pool, error) {
		return pgtest.New(t, pgtest.Migrations(schema)), nil
	}}}, nil
}

func table(i int) string {
	return fmt.Sprintf("create table if not exists t%d (id bigint primary key, v text);", i)
}

// twentyTables is the migrator that a user of pgtestdb alone would write.
type twentyTables struct{}

func (twentyTables) Hash() (string, error) { return "twenty tables", nil }

func (twentyTables) Migrate(ctx context.Context, db *sql.DB, _ pgtestdb.Config) error {
	for i := range 20 {
		if _, err := db.ExecContext(ctx, table(i)); err != nil {
			return err
		}
	}
	return nil
}

// pgtestdbAlone is pgtestdb without pgtest, on the server of serverURL.
//
// pgtestdb remembers the roles and templates that it has made for the life of the process, by the
// role's name and not by the server. The throwaway server may have restarted since the last
// comparison, so each server gets a role with a unique name.
func pgtestdbAlone(ctx context.Context, serverURL string) (Way, error) {
	u, err := url.Parse(serverURL)
	if err != nil {
		return Way{}, errors.New("the server's URL cannot be parsed")
	}
	role := pgtestdb.DefaultRole()
	err = harness.Session(ctx, serverURL, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "select $1 || '_' || (extract(epoch from pg_postmaster_start_time()) * 1e6)::bigint",
			role.Username).Scan(&role.Username)
	})
	conf := pgtestdb.Config{
		DriverName: "pgx", Host: "localhost", Port: "5432", User: "postgres", Database: "postgres", Options: u.RawQuery,
		TestRole: &role, ForceTerminateConnections: true,
	}
	return Way{"pgtestdb", func(t *harness.Test) (*pgxpool.Pool, error) {
		pool, err := pgxpool.New(ctx, pgtestdb.Custom(t, conf, twentyTables{}).URL())
		if err == nil {
			t.Cleanup(pool.Close)
		}
		return pool, err
	}}, err
}

// once runs one test and returns how long it waited for its database's first answer.
func (w Way) once(ctx context.Context, work time.Duration) (ready time.Duration, err error) {
	t := &harness.Test{Ctx: ctx}
	began := time.Now()
	err = t.Run(func() error {
		pool, err := w.open(t)
		if err != nil {
			return err
		}
		err = pool.QueryRow(ctx, "select count(*) from t0").Scan(new(int))
		ready = time.Since(began)
		time.Sleep(work)
		return err
	})
	return ready, err
}

// Many runs tests by a number of workers and returns the time for each test.
func (w Way) Many(ctx context.Context, workers, tests int) (time.Duration, error) {
	began := time.Now()
	err := harness.InParallel(workers, tests, func(ctx context.Context, _ int) error {
		_, err := w.once(ctx, 0)
		return err
	})(ctx)
	return time.Since(began) / time.Duration(tests), err
}
