package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// asCommand makes the test binary the command.
const asCommand = "PGTEST_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Exit(m.Run())
}

// failing is a test that fails, and goes on.
type failing struct {
	testing.TB
	cleanups []func()
}

func (f *failing) Cleanup(fn func()) { f.cleanups = append(f.cleanups, fn) }
func (*failing) Failed() bool        { return true }

// What a failed test left is listed with the command that opens it, and dropped, by the command in
// a process of its own.
func TestListAndClean(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "t") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil { // root's server runs as another user
		t.Fatal(err)
	}
	server, err := pgserver.Acquire(t.Context(), pgserver.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Release()
		// A server stays for some seconds.
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			if left, err := os.ReadDir(dir); err != nil || len(left) == 0 || time.Now().After(deadline) {
				return
			}
		}
	})
	t.Setenv("PGTEST_URL", server.URL())
	f := &failing{TB: t}
	migrations := fstest.MapFS{"001_a.sql": {Data: []byte("create table a (id int);")}}
	name := pgtest.New(f, pgtest.Migrations(migrations), pgtest.Keep()).Config().ConnConfig.Database
	for i := len(f.cleanups) - 1; i >= 0; i-- {
		f.cleanups[i]()
	}

	command := func(arg string) string {
		t.Helper()
		cmd := exec.Command(os.Args[0], arg)
		cmd.Env = append(os.Environ(), asCommand+"=1", "GORACE=atexit_sleep_ms=0")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", arg, err, out)
		}
		return string(out)
	}
	if out := command("list"); !strings.Contains(out, "  TestListAndClean\n  psql 'postgres://postgres@/"+name+"?") {
		t.Errorf("listed: %s", out)
	}
	if out := command("clean"); strings.Contains(out, name) {
		t.Errorf("dropped, though the process that made it lives: %s", out)
	}
}

// A signal ends clean while it waits for the server, with the status of a failure and nothing half
// dropped; the next one finishes the work.
func TestCleanIsInterrupted(t *testing.T) {
	server, err := pgserver.Acquire(t.Context(), pgserver.Options{Settings: map[string]string{"cluster_name": "clean"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Release)
	t.Setenv("PGTEST_URL", server.URL())
	const role, database = "pgtest_0000abcd", "pgtest_0000abcd_0000000000000000_000000abcd"
	conn, err := pgx.Connect(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	execute := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	count := func(sql string) (n int) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), sql).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	execute("create role " + role)
	execute("comment on role " + role + " is 'pgtest owner of /another project'")
	execute("create database " + database + " owner " + role)
	const (
		waiting = "select count(*) from pg_locks where not granted"
		left    = "select count(*) from pg_database where datname = '" + database + "'"
	)
	clean := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0], "clean", "--all")
		cmd.Env = append(os.Environ(), asCommand+"=1", "GORACE=atexit_sleep_ms=0")
		return cmd
	}
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		execute("begin")
		execute("comment on database " + database + " is null") // a drop waits for the transaction's end
		cmd := clean()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(time.Minute); count(waiting) == 0 && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond) // polls
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("%s: %v", signal, err)
		}
		execute("rollback")
		if n := count(left); n != 1 {
			t.Errorf("%s: %d databases are left", signal, n)
		}
	}
	if out, err := clean().CombinedOutput(); err != nil || count(left) != 0 {
		t.Errorf("cleaned: %v: %s", err, out)
	}
}

func TestRun(t *testing.T) {
	for _, c := range []struct {
		args   []string
		code   int
		stderr string
	}{
		{nil, 2, "no command"},
		{[]string{"sweep"}, 2, `unknown command "sweep"`},
		{[]string{"list", "all"}, 2, `unexpected argument "all"`},
		{[]string{"list"}, 0, ""},
		{[]string{"clean"}, 0, ""},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), c.args, &stdout, &stderr); code != c.code ||
			!strings.Contains(stderr.String(), c.stderr) {
			t.Errorf("%q: status %d, %q", c.args, code, stderr.String())
		}
	}
	t.Setenv("PGTEST_URL", "postgres://u:s3cretword@db.example.com/postgres")
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"list"}, &stdout, &stderr); code != 1 ||
		strings.Contains(stderr.String(), "s3cretword") {
		t.Errorf("status %d, %q", code, stderr.String())
	}
}
