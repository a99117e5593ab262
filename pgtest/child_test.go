package pgtest_test

import (
	"context"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// childEnv makes the test named by its value run in a process of its own: it is skipped otherwise.
const childEnv = "PGTEST_TEST_CHILD"

// child prepares another process that runs one test of this binary.
func child(t *testing.T, name string, env ...string) *osexec.Cmd {
	t.Helper()
	cmd := osexec.Command(os.Args[0], "-test.run=^"+name+"$", "-test.v")
	if dir := os.Getenv("GOCOVERDIR"); dir != "" && testing.CoverMode() != "" {
		cmd.Args = append(cmd.Args, "-test.gocoverdir="+dir) // a test binary does not heed the variable itself
	}
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

// ownServer starts a server that no other test shares and returns the variable that leads processes
// to it: a cache directory of its own, with a copy of what initdb makes.
func ownServer(t *testing.T) (server *pgserver.Server, env string) {
	t.Helper()
	from, err := initialized()
	if err != nil {
		t.Fatal(err)
	}
	base := shortDir(t)
	cache := filepath.Join(base, "pgserver", strconv.Itoa(os.Geteuid()))
	if err := os.MkdirAll(filepath.Dir(cache), 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := osexec.Command("cp", "-r", from, cache).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	server, err = pgserver.Acquire(t.Context(), pgserver.Options{CacheDir: cache})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Release)
	return server, "XDG_CACHE_HOME=" + base
}

var removeInitialized = func() {} // at the end

// initialized is a cache directory with what initdb makes, which takes a second of a processor.
var initialized = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "t"); err != nil {
		return "", err
	}
	removeInitialized = func() { os.RemoveAll(dir) }
	server, err := pgserver.Acquire(context.Background(), pgserver.Options{CacheDir: dir})
	if err != nil {
		return "", err
	}
	server.Release()
	locks, err := filepath.Glob(filepath.Join(dir, "*.lock"))
	for _, lock := range locks { // leads to that server
		os.Remove(lock)
	}
	return dir, err
})

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
