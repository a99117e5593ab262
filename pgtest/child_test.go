package pgtest_test

import (
	"context"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

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
// to it: a cache directory of its own, with the initialized data directory from the user's, which
// takes a second to make.
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
		if osexec.Command("cp", "-r", dir, cache).Run() != nil { // another process may be removing it
			os.RemoveAll(filepath.Join(cache, filepath.Base(dir)))
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
