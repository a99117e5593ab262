package pgtest_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	osexec "os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/peterldowns/pgtestdb"

	"github.com/page-builder/persistence/pgtest"
)

// fullReliability is the number of rounds of 500 tests in 20 processes, 50 for a release; the
// ordinary run is a small part of one.
const fullReliability = "PGTEST_TEST_RELIABILITY"

// Processes like those of go test ./... run many tests each, and some are killed at any moment: no
// test sees another's rows, a throw-away server goes, and on a configured one nothing is left after
// the next start.
func TestReliability(t *testing.T) {
	t.Parallel()
	rounds, processes, tests := 1, 5, 8
	if full, err := strconv.Atoi(os.Getenv(fullReliability)); err == nil && full > 0 {
		rounds, processes, tests = full, 20, 25
	}
	t.Run("throw-away", func(t *testing.T) {
		t.Parallel()
		server, env := ownServer(t)
		for range rounds {
			processesAtOnce(t, processes, tests, true, env)
		}
		if full := os.Getenv(fullReliability); full != "" {
			beside(t, processes, tests, env)
		}
		u, err := url.Parse(server.URL())
		if err != nil {
			t.Fatal(err)
		}
		dir := u.Query().Get("host")
		if _, err := os.Stat(dir); err != nil {
			t.Fatalf("this test cannot see the server's directory: %v", err)
		}
		server.Release()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) { // polls
			if _, err := os.Stat(dir); os.IsNotExist(err) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s is still there", dir)
			}
		}
	})
	t.Run("configured", func(t *testing.T) {
		t.Parallel()
		admin, env := configured(t)
		for range rounds {
			processesAtOnce(t, processes, tests, true, env)
			// A backend of a killed process that is in the middle of a statement may outlive it for
			// a moment.
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
				runChild(t, "TestChildTakes", env)
				left := scan(t, admin, allOurs)
				if left == "" {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("left after sweeps: %s", left)
				}
			}
		}
	})
}

// beside logs how long the same processes take with pgtest and with pgtestdb alone, when none is
// killed.
func beside(t *testing.T, processes, tests int, env string) {
	t.Helper()
	var took [2]time.Duration
	for range 3 {
		for i, way := range []string{"", plainPgtestdb + "=1"} {
			began := time.Now()
			processesAtOnce(t, processes, tests, false, env, way)
			took[i] += time.Since(began)
		}
	}
	t.Logf("%d processes with %d tests each: pgtest %s, pgtestdb %s, ratio %.2f", processes, tests,
		took[0]/3, took[1]/3, float64(took[0])/float64(took[1]))
}

// plainPgtestdb makes TestChildMarkers do without pgtest.
const plainPgtestdb = "PGTEST_TEST_PLAIN"

// processesAtOnce runs them and kills about half if so asked. The others must pass.
func processesAtOnce(t *testing.T, processes, tests int, kill bool, env ...string) {
	t.Helper()
	ended := make(chan string, processes)
	for range processes {
		cmd := child(t, "TestChildMarkers", append(env, "PGTEST_TEST_MARKERS="+strconv.Itoa(tests))...)
		cmd.Args = append(cmd.Args, "-test.parallel=4")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var killer *time.Timer
		if kill && rand.IntN(2) == 0 {
			killer = time.AfterFunc(rand.N(1500*time.Millisecond), func() { cmd.Process.Kill() })
		}
		go func() {
			err := cmd.Wait()
			if killer != nil {
				killer.Stop()
			}
			if err != nil && !killed(err) {
				ended <- fmt.Sprintf("%v\n%s", err, &out)
				return
			}
			ended <- ""
		}()
	}
	for range processes {
		if failure := <-ended; failure != "" {
			t.Error(failure)
		}
	}
}

func killed(err error) bool {
	exit, ok := err.(*osexec.ExitError)
	if !ok {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// TestChildMarkers leaves a marker in each database and must find no other.
func TestChildMarkers(t *testing.T) {
	onlyAsChild(t)
	n, err := strconv.Atoi(os.Getenv("PGTEST_TEST_MARKERS"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			var pool *pgxpool.Pool
			if os.Getenv(plainPgtestdb) == "" {
				pool = pgtest.New(t, pgtest.Migrations(twoTables))
			} else {
				pool = plainPool(t)
			}
			marker := os.Getpid()*100 + i
			for range 3 {
				exec(t, pool, fmt.Sprintf("insert into pages values (%d) on conflict do nothing", marker))
				var seen []string
				rows, err := pool.Query(t.Context(), "select id::text from pages")
				if err != nil {
					t.Fatal(err)
				}
				for rows.Next() {
					var id string
					if err := rows.Scan(&id); err != nil {
						t.Error(err)
					}
					seen = append(seen, id)
				}
				if got := strings.Join(seen, " "); got != strconv.Itoa(marker) || rows.Err() != nil {
					t.Errorf("markers %q, want %d (%v)", got, marker, rows.Err())
				}
			}
		})
	}
}

// plainPool is what pgtestdb's users write.
func plainPool(t *testing.T) *pgxpool.Pool {
	t.Helper()
	u, err := url.Parse(adminURL(t))
	if err != nil {
		t.Fatal(err)
	}
	conf := pgtestdb.Custom(t, pgtestdb.Config{
		DriverName: "pgx", Host: "localhost", Port: "5432", User: "postgres", Database: "postgres", Options: u.RawQuery,
		ForceTerminateConnections: true,
	}, pages{})
	pool, err := pgxpool.New(t.Context(), conf.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

type pages struct{}

func (pages) Hash() (string, error) { return "pages", nil }
func (pages) Migrate(ctx context.Context, db *sql.DB, _ pgtestdb.Config) error {
	_, err := db.ExecContext(ctx, "create table authors (id int primary key); create table pages (id int primary key)")
	return err
}
