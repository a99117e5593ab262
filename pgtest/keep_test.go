package pgtest_test

import (
	"bufio"
	"context"
	"fmt"
	"net/url"
	"os"
	osexec "os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// configured makes a server of its own look like one that PGTEST_URL names, with a password.
func configured(t *testing.T) (admin, env string) {
	t.Helper()
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o777); err != nil { // root's server runs as another user
		t.Fatal(err)
	}
	server, err := pgserver.Acquire(t.Context(), pgserver.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Release)
	execURL(t, server.URL(), "create role adm superuser login password 's3cretword'")
	u, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("adm", "s3cretword")
	return server.URL(), "PGTEST_URL=" + u.String()
}

// A failed test's database stays on request, is found again, spared by sweeps for a day, and dropped by Clean; what pgtest did
// not make is never touched.
func TestKeepOfFailedTest(t *testing.T) {
	t.Parallel()
	admin, env := configured(t)
	foreign := []string{"pgtest_mine", "pgtest_00000000_0000000000000000_0000000000", "testdb_tpl_00_inst_00"}
	for _, name := range foreign {
		execURL(t, admin, "create database "+name)
	}
	const roles = "select coalesce(string_agg(rolname, ' '), '') from pg_roles where rolname ~ '^pgtest_'"
	execURL(t, admin, "create role pgtest_00000000")
	failing := func(extra ...string) string {
		t.Helper()
		out, err := child(t, "TestChildFails", append(extra, env)...).CombinedOutput()
		if err == nil {
			t.Fatalf("did not fail:\n%s", out)
		}
		if strings.Contains(string(out), "s3cretword") {
			t.Errorf("the password is in the output:\n%s", out)
		}
		return string(out)
	}
	failing()
	if left := scan(t, admin, allOurs); left != strings.Join(foreign, " ") && len(strings.Fields(left)) != len(foreign) {
		t.Errorf("without the wish: %s", left)
	}
	out := failing("PGTEST_KEEP=1")
	command := regexp.MustCompile(`psql '([^']+)'`).FindStringSubmatch(out)
	if command == nil {
		t.Fatalf("no psql command:\n%s", out)
	}
	opened := strings.Replace(command[1], "adm@", "adm:s3cretword@", 1)
	if got := scan(t, opened, "select id::text from pages"); got != "42" {
		t.Errorf("row %s", got)
	}
	runChild(t, "TestChildTakes", env) // sweeps
	if got := scan(t, opened, "select id::text from pages"); got != "42" {
		t.Errorf("row %s after a sweep", got)
	}
	if out := runChild(t, "TestChildKept", env); !strings.Contains(out, "TestChildFails "+command[0]) {
		t.Errorf("listed: %s", out)
	}
	name := scan(t, opened, "select current_database()")
	execURL(t, admin, "comment on database "+name+" is 'pgtest kept 2020-01-01T00:00:00Z TestOld'")
	runChild(t, "TestChildTakes", env)
	if left := scan(t, admin, allOurs); strings.Contains(left, name) {
		t.Errorf("kept for years: %s", left)
	}
	failing("PGTEST_KEEP=1")
	runChild(t, "TestChildClean", env)
	if left := scan(t, admin, `select string_agg(datname, ' ' order by datname) from pg_database where datname ~ '^(pgtest_|testdb_)'`); left !=
		"pgtest_00000000_0000000000000000_0000000000 pgtest_mine testdb_tpl_00_inst_00" {
		t.Errorf("after Clean: %s", left)
	}
	if left := scan(t, admin, roles); left != "pgtest_00000000" {
		t.Errorf("roles after Clean: %s", left)
	}
	runChild(t, "TestChildTakes", env) // from nothing
}

// A process that was killed while it made the role leaves one that cannot log in.
func TestHalfMadeRole(t *testing.T) {
	t.Parallel()
	admin, env := configured(t)
	runChild(t, "TestChildTakes", env)
	role := scan(t, admin, "select rolname from pg_roles where rolname ~ '^pgtest_'")
	runChild(t, "TestChildClean", env)
	execURL(t, admin, "create role "+role)
	runChild(t, "TestChildTakes", env)
}

// Advisory locks are a database's own: processes that reach the same server through another database leave each other's alone.
func TestSweepFromAnotherDatabase(t *testing.T) {
	t.Parallel()
	admin, env := configured(t)
	execURL(t, admin, "create database elsewhere")
	startHolder(t, env)
	before := scan(t, admin, allOurs)
	other := strings.Replace(env, "/postgres?", "/elsewhere?", 1)
	if other == env {
		t.Fatal(env)
	}
	runChild(t, "TestChildTakes", other)
	runChild(t, "TestChildClean", other)
	if after := scan(t, admin, allOurs); after != before || len(strings.Fields(after)) != 3 {
		t.Errorf("%s, then %s", before, after)
	}
}

func TestChildFails(t *testing.T) {
	onlyAsChild(t)
	exec(t, pgtest.New(t, pgtest.Migrations(twoTables)), "insert into pages values (42)")
	t.Error("on purpose")
}

func TestChildKept(t *testing.T) {
	onlyAsChild(t)
	kept, err := pgtest.Kept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kept {
		fmt.Println(k.Test, k.Psql)
	}
}

func TestChildClean(t *testing.T) {
	onlyAsChild(t)
	if _, err := pgtest.Clean(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// On a throw-away server the server stays with the database, until it is cleaned.
func TestKeepOnThrowAwayServer(t *testing.T) {
	t.Parallel()
	server, env := ownServer(t)
	out, err := child(t, "TestChildFails", env, "PGTEST_KEEP=1").CombinedOutput()
	command := regexp.MustCompile(`psql '([^']+)'`).FindStringSubmatch(string(out))
	if err == nil || command == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	server.Release()
	time.Sleep(4 * time.Second) // longer than a server without users stays
	if got := scan(t, command[1], "select id::text from pages"); got != "42" {
		t.Errorf("row %s", got)
	}
	runChild(t, "TestChildClean", env)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := pgx.Connect(context.Background(), command[1])
		if err != nil {
			return
		}
		conn.Close(context.Background())
		if time.Now().After(deadline) {
			t.Fatal("the server is still there")
		}
	}
}

// startHolder returns when the process has its databases.
func startHolder(t *testing.T, env string) *osexec.Cmd {
	t.Helper()
	cmd := child(t, "TestChildHolds", env)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "holding") {
			return cmd
		}
	}
	t.Fatal("the holder ended")
	return nil
}

func TestChildHolds(t *testing.T) {
	onlyAsChild(t)
	for range 3 {
		pgtest.URL(t, pgtest.Migrations(twoTables))
	}
	fmt.Println("holding")
	select {} // until killed
}

// What a killed process left on a configured server goes at the next start; what a living one has, stays.
func TestSweepAfterKill(t *testing.T) {
	t.Parallel()
	admin, env := configured(t)
	killed := startHolder(t, env)
	if n := len(strings.Fields(scan(t, admin, allOurs))); n != 3 {
		t.Fatalf("%d databases", n)
	}
	killed.Process.Kill()
	killed.Wait()
	startHolder(t, env) // sweeps, and holds three
	before := scan(t, admin, allOurs)
	runChild(t, "TestChildTakes", env)
	runChild(t, "TestChildClean", env)
	if after := scan(t, admin, allOurs); after != before || len(strings.Fields(after)) != 3 {
		t.Errorf("%s, then %s", before, after)
	}
}

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
				syscall.Kill(pid, syscall.SIGKILL)
				for conn, err := pgx.Connect(context.Background(), url); err == nil; conn, err = pgx.Connect(context.Background(), url) {
					conn.Close(context.Background())
					time.Sleep(5 * time.Millisecond)
				}
			})
		})
	}
	exec(t, pgtest.New(t, pgtest.Migrations(twoTables)), "insert into pages values (1)")
	fmt.Fprintln(os.Stderr, "replaced")
}
