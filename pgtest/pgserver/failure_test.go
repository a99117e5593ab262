package pgserver_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

func TestNoBinaries(t *testing.T) {
	t.Parallel()
	_, err := pgserver.Acquire(context.Background(), pgserver.Options{BinDir: t.TempDir()})
	var notFound *pgserver.NotFoundError
	if !errors.As(err, &notFound) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		"no PostgreSQL server found", "no postgres in", "install it: ", "PGTEST_BINDIR", "PGTEST_URL",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

func TestVersionThatIsNotInstalled(t *testing.T) {
	t.Parallel()
	_, err := pgserver.Acquire(context.Background(), pgserver.Options{Version: 97})
	var notFound *pgserver.NotFoundError
	if !errors.As(err, &notFound) {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(err.Error(), "97 is wanted") {
		t.Errorf("got %v", err)
	}
}

func TestPlacesThatWillNotDo(t *testing.T) {
	t.Parallel()
	long := filepath.Join(shortTempDir(t), strings.Repeat("long", 25))
	if err := os.Mkdir(long, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(long, 0o777); err != nil { // past the umask
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(long) })
	for name, c := range map[string]struct{ dir, want string }{
		"missing":       {filepath.Join(shortTempDir(t), "missing"), "no such file or directory"},
		"read only":     {"/proc", "no room for a server"},
		"path too long": {long, "set TMPDIR to a shorter path"},
	} {
		_, err := pgserver.Acquire(context.Background(), pgserver.Options{Dir: c.dir})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "set TMPDIR") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if os.Getuid() == 0 {
		// Root may write there, and the user that its server runs as may not.
		_, err := pgserver.Acquire(context.Background(), pgserver.Options{Dir: t.TempDir()})
		if err == nil || !strings.Contains(err.Error(), "which the server runs as, cannot write there") {
			t.Errorf("closed to the server's user: got %v", err)
		}
	}
	if left := servers(t, long); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A file system that is too small, one that fills up meanwhile, and a cache on it.
func TestFullFileSystem(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	dir := shortTempDir(t)
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=300m,mode=1777", "tmpfs",
		dir).CombinedOutput(); err != nil {
		t.Skipf("this system does not let root mount: %s", out)
	}
	t.Cleanup(func() { exec.Command("umount", dir).Run() })
	fill := filepath.Join(dir, "fill")

	writeBytes(t, fill, 290<<20)
	_, err := pgserver.Acquire(context.Background(), pgserver.Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "MB free") || !strings.Contains(err.Error(), "set TMPDIR") {
		t.Errorf("too small: got %v", err)
	}
	_, err = pgserver.Dev{Name: "full", Dir: dir}.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "is full") {
		t.Errorf("a development server: got %v", err)
	}
	os.RemoveAll(filepath.Join(dir, "full"))
	// A cache that is full is done without, and nothing broken is left in it.
	cache := filepath.Join(dir, "cache")
	s := acquire(t, pgserver.Options{Dir: shortTempDir(t), CacheDir: cache})
	if got := query(t, s.URL(), "select 'up'"); got != "up" {
		t.Error(got)
	}
	if left, err := filepath.Glob(filepath.Join(cache, "*-*")); err != nil || len(left) > 0 {
		t.Errorf("left in a full cache: %v, %v", left, err)
	}
}

// A relative directory is one of this process, although the server is in another.
func TestRelativePlaces(t *testing.T) {
	dir := scratchDir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	s := acquire(t, pgserver.Options{Dir: ".", CacheDir: warmCache(t)})
	if got := query(t, s.URL(), "show data_directory"); !strings.HasPrefix(got, dir) {
		t.Errorf("the server is in %s, want it in %s", got, dir)
	}
	url, err := pgserver.Dev{Name: "d", Dir: "state"}.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := query(t, url, "show data_directory"); !strings.HasPrefix(got, dir) {
		t.Errorf("the development server is in %s, want it in %s", got, dir)
	}
	if err := (pgserver.Dev{Name: "d", Dir: "state"}).Remove(t.Context()); err != nil {
		t.Error(err)
	}
}

// Every client reads the URL of a server in a directory whose name has characters that a URL
// quotes.
func TestPlacesWithOddNames(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(publicDir(t), "a b+c%20d&é'[*")
	if err := errors.Join(os.Mkdir(dir, 0o777), os.Chmod(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	s := acquire(t, pgserver.Options{Dir: dir, CacheDir: warmCache(t)})
	dev, err := pgserver.Dev{Name: "a b", Database: "c d+e", Dir: dir}.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{s.URL(), s.DatabaseURL("template1"), dev} {
		if got := query(t, url, "show data_directory"); !strings.HasPrefix(got, dir) {
			t.Errorf("the server is in %s, want it in %s", got, dir)
		}
		for _, psql := range pgserver.Programs("psql") { // libpq
			if out, err := exec.Command(psql, "-Atc", "show data_directory", url).CombinedOutput(); err != nil ||
				!strings.HasPrefix(string(out), dir) {
				t.Errorf("%s %s: %v: %s", psql, url, err, out)
			}
		}
	}
	if err := (pgserver.Dev{Name: "a b", Dir: dir}).Remove(t.Context()); err != nil {
		t.Error(err)
	}
}

func writeBytes(t *testing.T, path string, n int) {
	t.Helper()
	if err := os.WriteFile(path, make([]byte, n), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPGTESTURL(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct{ url, want string }{
		"remote":       {"postgres://u:s3cretword@db.example.com/postgres", "PGTEST_ALLOW_REMOTE=1"},
		"remote twice": {"postgres://u:s3cretword@127.0.0.1,db.example.com/postgres", "PGTEST_ALLOW_REMOTE=1"},
		"name":         {"postgres://u:s3cretword@127.0.0.1.example.com/postgres", "PGTEST_ALLOW_REMOTE=1"},
		"parameter":    {"postgres://u:s3cretword@127.0.0.1/postgres?host=db.example.com", "PGTEST_ALLOW_REMOTE=1"},
		"scheme":       {"mysql://u:s3cretword@127.0.0.1/postgres", "not a postgres:// URL"},
		"no URL":       {"s3cretword://%%", "not a postgres:// URL"},
		"parameters":   {"postgres://u:s3cretword@127.0.0.1/postgres?sslmode=maybe", "cannot be used"},
	} {
		t.Setenv("PGTEST_URL", c.url)
		_, err := pgserver.Acquire(ctx, pgserver.Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cretword") {
			t.Errorf("%s: the password is in %q", name, err)
		}
	}

	// A server that is configured is used, and databases are made and dropped there.
	t.Setenv("PGTEST_URL", "")
	own := acquire(t, pgserver.Options{})
	t.Setenv("PGTEST_URL", own.URL())
	if s := acquire(t, pgserver.Options{}); s.Ephemeral() || s.URL() != own.URL() {
		t.Errorf("ephemeral %v, %s instead of %s", s.Ephemeral(), s.URL(), own.URL())
	}
	var name string
	t.Run("database", func(t *testing.T) {
		name = query(t, pgserver.Database(t), "select current_database()")
	})
	left := query(t, own.URL(), "select count(*)::text from pg_database where datname = '"+name+"'")
	if name == "" || left != "0" {
		t.Errorf("database %q: %s left", name, left)
	}
}

func TestDevPortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := shortTempDir(t)
	dev := pgserver.Dev{Dir: dir, Port: l.Addr().(*net.TCPAddr).Port}
	_, err = dev.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), strconv.Itoa(dev.Port)) ||
		!strings.Contains(err.Error(), "choose another") {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
