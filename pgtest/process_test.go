package pgtest_test

import (
	"context"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// childEnv makes the test named by its value run in a process of its own: it is skipped otherwise.
const childEnv = "PGTEST_TEST_CHILD"

// child prepares another process that runs one test of this binary.
func child(t *testing.T, name string, env ...string) *osexec.Cmd {
	t.Helper()
	cmd := osexec.Command(os.Args[0], "-test.run=^"+name+"$", "-test.v")
	cmd.Env = append(append(os.Environ(), childEnv+"="+name), env...)
	return cmd
}

func runChild(t *testing.T, name string, env ...string) string {
	t.Helper()
	out, err := child(t, name, env...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func onlyAsChild(t *testing.T) {
	t.Helper()
	if os.Getenv(childEnv) != t.Name() {
		t.Skip("run by another test")
	}
}

// ownServer starts a server that no other test shares and returns the variable that leads processes to it: a cache
// directory of its own, with the initialised data directory from the user's, which takes a second to make.
func ownServer(t *testing.T) (server *pgserver.Server, env string) {
	t.Helper()
	adminURL(t) // fills the user's cache
	users, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	uid := strconv.Itoa(os.Geteuid())
	made, err := filepath.Glob(filepath.Join(users, "pgserver", uid, "initdb-*"))
	if err != nil || len(made) == 0 {
		t.Fatalf("no data directory in the cache: %v", err)
	}
	slices.SortFunc(made, func(a, b string) int { return modified(b).Compare(modified(a)) })
	base := shortDir(t)
	cache := filepath.Join(base, "pgserver", uid)
	if err := os.MkdirAll(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range made[:min(2, len(made))] {
		if out, err := osexec.Command("cp", "-r", dir, cache).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	server, err = pgserver.Acquire(t.Context(), pgserver.Options{CacheDir: cache})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Release)
	return server, "XDG_CACHE_HOME=" + base
}

func modified(path string) time.Time {
	if fi, err := os.Stat(path); err == nil {
		return fi.ModTime()
	}
	return time.Time{}
}

func scan(t *testing.T, url, sql string) (s string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(context.Background(), sql).Scan(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

const (
	readyOIDs = `select coalesce(string_agg(oid::text, ' '), '') from pg_database
		where datname ~ '^pgtest_' and datname !~ '_0{16}_' and shobj_description(oid, 'pg_database') is null`
	usedNames = `select coalesce(string_agg(datname, ' '), '') from pg_database
		where datname ~ '^pgtest_' and (datname ~ '_0{16}_' or shobj_description(oid, 'pg_database') is not null)`
	allOurs = `select coalesce(string_agg(datname, ' '), '') from pg_database where datname ~ '^(pgtest_|testdb_tpl_.*_inst_)' and not datistemplate`
)

// What one process made ahead another takes, and what it used the other drops.
func TestNextProcessTakesOver(t *testing.T) {
	t.Parallel()
	server, env := ownServer(t)
	runChild(t, "TestChildEnds", env)
	ready := scan(t, server.URL(), readyOIDs)
	if ready == "" {
		t.Fatal("the first process left nothing ready")
	}
	used := strings.Fields(scan(t, server.URL(), usedNames))
	if len(used) < 3 {
		t.Fatalf("the first process used %q", used)
	}
	out := runChild(t, "TestChildTakes", env)
	_, oid, _ := strings.Cut(out, "oid=")
	oid, _, _ = strings.Cut(oid, "\n")
	if oid == "" || !strings.Contains(" "+ready+" ", " "+oid+" ") {
		t.Errorf("took %s, ready were %s", oid, ready)
	}
	left := strings.Fields(scan(t, server.URL(), allOurs))
	for _, name := range used {
		if slices.Contains(left, name) {
			t.Errorf("%s was used and is still there: %s", name, left)
		}
	}
}

// TestChildEnds ends its process without any cleanup.
func TestChildEnds(t *testing.T) {
	onlyAsChild(t)
	for range 3 {
		execURL(t, pgtest.URL(t, pgtest.Migrations(twoTables)), "insert into pages values (1)")
	}
	for deadline := time.Now().Add(10 * time.Second); scan(t, adminURL(t), readyOIDs) == ""; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is made ahead")
		}
	}
	os.Exit(0)
}

func TestChildTakes(t *testing.T) {
	onlyAsChild(t)
	pool := pgtest.New(t, pgtest.Migrations(twoTables))
	if n := count(t, pool, "pages"); n != 0 {
		t.Errorf("%d rows of another process's test", n)
	}
	var oid string
	if err := pool.QueryRow(t.Context(), "select oid::text from pg_database where datname = current_database()").Scan(&oid); err != nil {
		t.Fatal(err)
	}
	fmt.Println("oid=" + oid)
	// The sweep of a throw-away server comes a moment later. Two databases of this process may be used: its own and one that
	// waits for its next test.
	mine := strings.Join(strings.SplitN(pool.Config().ConnConfig.Database, "_", 3)[:2], "_") + "_"
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if !slices.ContainsFunc(strings.Fields(scan(t, adminURL(t), usedNames)), func(name string) bool { return !strings.HasPrefix(name, mine) }) {
			return
		}
	} // the parent sees it
}

// adminURL is the server's own connection string, in a process that holds it through pgtest anyway.
func adminURL(t *testing.T) string {
	t.Helper()
	server, err := pgserver.Acquire(context.Background(), pgserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Release()
	return server.URL()
}

func execURL(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), sql); err != nil {
		t.Fatal(err)
	}
}

// Eight tests at a time never keep more than 16 databases, and a process that then waits keeps few.
func TestBoundedNumberOfDatabases(t *testing.T) {
	t.Parallel()
	_, env := ownServer(t)
	cmd := child(t, "TestChildEightAtATime", env)
	cmd.Args = append(cmd.Args, "-test.parallel=8")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestChildEightAtATime(t *testing.T) {
	onlyAsChild(t)
	conn, err := pgx.Connect(t.Context(), adminURL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	number := func() (n int) {
		if err := conn.QueryRow(context.Background(), "select count(*) from pg_database where datname ~ '^pgtest_'").Scan(&n); err != nil {
			t.Error(err)
		}
		return n
	}
	done, most := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-done:
				most <- n
				return
			case <-time.After(2 * time.Millisecond):
				n = max(n, number())
			}
		}
	}()
	var rounds [5]sync.WaitGroup
	t.Run("tests", func(t *testing.T) {
		for i := range rounds {
			rounds[i].Add(8)
		}
		var started atomic.Int32
		for range 8 * len(rounds) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				round := &rounds[(started.Add(1)-1)/8]
				exec(t, pgtest.New(t, pgtest.Migrations(twoTables)), "insert into pages values (1)")
				round.Done()
				round.Wait() // so that eight are there
			})
		}
	})
	close(done)
	if n := <-most; n > 16 || n < 8 {
		t.Errorf("%d databases at a time, want 8 to 16", n)
	}
	for deadline := time.Now().Add(10 * time.Second); number() > 4; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d databases when idle, want at most 4", number())
		}
	}
}
