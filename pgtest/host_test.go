package pgtest_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest"
)

// A server that is killed takes its tests with it, and the next test gets another.
func TestKilledServerIsReplaced(t *testing.T) {
	t.Parallel()
	_, env := ownServer(t)
	runChild(t, "TestChildKillsServer", env)
}

func TestChildKillsServer(t *testing.T) {
	onlyAsChild(t)
	for range 2 {
		t.Run("", func(t *testing.T) {
			r := &recorder{TB: t} // its end complains about the server
			r.run(func() {
				url := pgtest.URL(r, pgtest.Migrations(twoTables))
				execURL(t, url, "insert into pages values (1)")
				var pid int
				fmt.Sscan(scan(t, adminURL(t), "select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"), &pid)
				if pid < 2 {
					t.Fatal(pid)
				}
				session, err := pgx.Connect(t.Context(), adminURL(t))
				if err != nil {
					t.Fatal(err)
				}
				defer session.Close(context.Background())
				syscall.Kill(pid, syscall.SIGKILL)
				// While the kernel tears the process down it refuses new connections already, and
				// its sessions still answer.
				for session.Ping(context.Background()) == nil {
					time.Sleep(5 * time.Millisecond) // polls
				}
				for conn, err := pgx.Connect(context.Background(),
					url); err == nil; conn, err = pgx.Connect(context.Background(), url) {
					conn.Close(context.Background())
					time.Sleep(5 * time.Millisecond) // polls
				}
			})
		})
	}
	exec(t, pgtest.New(t, pgtest.Migrations(twoTables)), "insert into pages values (1)")
	fmt.Fprintln(os.Stderr, "replaced")
}

// A server whose files somebody removed is replaced, too: only the test that had it fails.
func TestRemovedServerIsReplaced(t *testing.T) {
	t.Parallel()
	_, env := ownServer(t)
	runChild(t, "TestChildLosesFiles", env)
}

func TestChildLosesFiles(t *testing.T) {
	onlyAsChild(t)
	r := &recorder{TB: t} // its end may complain
	r.run(func() {
		pool := pgtest.New(r, pgtest.Migrations(twoTables))
		dir := pool.Config().ConnConfig.Host
		err := os.RemoveAll(dir)
		for range 100 { // the server may write into the folder meanwhile
			if err == nil {
				break
			}
			err = os.RemoveAll(dir)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	for range 3 {
		t.Run("", func(t *testing.T) { own(t, 1) })
	}
}

// A test gets a server with the settings that it asks for.
func TestSettings(t *testing.T) {
	t.Parallel()
	_, env := ownServer(t)
	runChild(t, "TestChildHasSettings", env)
}

func TestChildHasSettings(t *testing.T) {
	onlyAsChild(t)
	want := map[string]string{"wal_level": "logical", "max_prepared_transactions": "3"}
	pool := pgtest.New(t, pgtest.Migrations(twoTables), pgtest.Settings(want))
	for name, value := range want {
		var got string
		err := pool.QueryRow(t.Context(), "select current_setting($1)", name).Scan(&got)
		if err != nil || got != value {
			t.Errorf("%s is %s, %v", name, got, err)
		}
	}
	t.Setenv("PGTEST_URL", adminURL(t))
	r := &recorder{TB: t}
	failures := r.run(func() { pgtest.New(r, pgtest.Migrations(twoTables), pgtest.Settings(want)) })
	if len(failures) != 1 || !strings.Contains(failures[0], "the server of PGTEST_URL has") {
		t.Errorf("failures: %q", failures)
	}
}
