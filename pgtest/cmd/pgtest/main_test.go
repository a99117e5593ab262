package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"
	"time"

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
