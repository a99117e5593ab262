package pgserver_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// A development server that cannot be started says why and what to do, and what it has stays.
func TestDevFails(t *testing.T) {
	t.Parallel()
	dev := pgserver.Dev{Name: "fails", Dir: shortTempDir(t)}
	if _, err := dev.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := dev.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(dev.Dir, dev.Name)
	t.Cleanup(func() {
		if err := dev.Remove(context.Background()); err != nil {
			t.Error(err)
		}
	})
	file := func(name string) string { return filepath.Join(home, "data", name) }
	wants := func(what string, err error, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%s: no %q in %v", what, text, err)
			}
		}
	}
	start := func() error {
		_, err := dev.Start(t.Context())
		return err
	}
	// with replaces a file's content while fn runs, as its owner would.
	with := func(path, content string, fn func()) {
		t.Helper()
		before, err := os.ReadFile(path)
		missing := errors.Is(err, os.ErrNotExist)
		if err != nil && !missing {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		fn()
		if missing {
			err = os.Remove(path)
		} else {
			err = os.WriteFile(path, before, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}

	with(file("PG_VERSION"), "97\n", func() {
		wants("another version", start(), "was made by PostgreSQL 97", "97 is wanted",
			"delete the data and start over: pgserver remove")
	})
	with(file("PG_VERSION"), "\n", func() { wants("a damaged version", start(), "PG_VERSION") })
	with(file("postgresql.conf"), "no_such_setting = 1\n", func() {
		wants("a wrong setting", start(), "start: exit status 1", "the log ends:", "no_such_setting")
	})
	// What a crash leaves: the file of a server that is not there, and one that is half written.
	for _, content := range []string{fmt.Sprintf("4194305\n%s\n1\n5432\n%s\n\n", file(""), home), "4194305\n"} {
		with(file("postmaster.pid"), content, func() {
			if _, err := dev.URL(); !errors.Is(err, pgserver.ErrNotRunning) {
				t.Errorf("postmaster.pid %q: %v", content, err)
			}
		})
	}

	lock, err := os.OpenFile(filepath.Join(home, "lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	for what, err := range map[string]error{"stop": dev.Stop(ctx), "remove": dev.Remove(ctx)} {
		if wants(what, err, "another process is starting or stopping the server"); !errors.Is(err, enough) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := os.Stat(file("PG_VERSION")); err != nil {
		t.Errorf("its data: %v", err)
	}
	lock.Close()

	if err := os.Chmod(home, 0o755); err != nil {
		t.Fatal(err)
	}
	wants("a directory that others may enter", start(), "must be a directory of user", "mode 0700")
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	long := pgserver.Dev{Name: strings.Repeat("long", 25), Dir: dev.Dir}
	_, err = long.Start(t.Context())
	wants("a long name", err, "set XDG_STATE_HOME to a shorter path")
	wants("a long name, stopped", long.Stop(t.Context()), "pgserver: stop: the socket path")
	_, err = long.URL()
	wants("a long name, asked for", err, "pgserver: the socket path")
	if err := start(); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

// A start waits for the database that a killed one is making: the server goes on with the statement
// of a client that is gone.
func TestDatabaseOfAKilledStart(t *testing.T) {
	t.Parallel()
	dev := pgserver.Dev{Name: "k", Database: "first", Dir: scratchDir(t)}
	url, err := dev.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dev.Remove(context.Background()) })
	killed, err := pgx.Connect(t.Context(), url+"&dbname=postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer killed.Close(context.Background())
	const lock = "select pg_advisory_lock(hashtext('pgserver'))"
	if _, err := killed.Exec(t.Context(), lock); err != nil {
		t.Fatal(err)
	}
	dev.Database = "second"
	started := make(chan error, 1)
	go func() {
		_, err := dev.Start(t.Context())
		started <- err
	}()
	waitFor(t, "the start to wait", func() bool {
		if len(started) > 0 {
			t.Fatalf("it did not wait: %v", <-started)
		}
		return query(t, url, "select exists (select from pg_locks where not granted and locktype = 'advisory')::text") ==
			"true"
	})
	if _, err := killed.Exec(t.Context(), "create database second"); err != nil {
		t.Error(err)
	}
	killed.Close(t.Context())
	if err := <-started; err != nil {
		t.Error(err)
	}
}

// Processes that start and remove a server at the same time wait for each other.
func TestRemoveDuringStart(t *testing.T) {
	t.Parallel()
	dev := pgserver.Dev{Name: "r", Dir: scratchDir(t)}
	var wait sync.WaitGroup
	for range 2 {
		for _, call := range []func(context.Context) error{
			dev.Remove, dev.Stop, func(ctx context.Context) error { _, err := dev.Start(ctx); return err },
		} {
			wait.Go(func() {
				if err := call(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wait.Wait()
	if err := dev.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dev.Dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A cache that is not the caller's alone is refused.
func TestCacheThatWillNotDo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, open := filepath.Join(dir, "file"), filepath.Join(dir, "open")
	writeBytes(t, file, 1)
	if err := errors.Join(os.Mkdir(open, 0o755), os.Chmod(open, 0o755)); err != nil {
		t.Fatal(err)
	}
	for cache, want := range map[string]string{
		filepath.Join(file, "cache"): "set XDG_CACHE_HOME to a writable directory",
		open: fmt.Sprintf("%s must be a directory of user %d with mode 0700",
			open, os.Geteuid()),
	} {
		if _, err := pgserver.Acquire(t.Context(), pgserver.Options{CacheDir: cache}); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", cache, err)
		}
	}
}

// failing is a test whose failures are looked at.
type failing struct {
	testing.TB
	cleanups []func()
	failures []string
}

type stopped struct{}

func (f *failing) Cleanup(fn func()) { f.cleanups = append(f.cleanups, fn) }
func (f *failing) Errorf(format string, args ...any) {
	f.failures = append(f.failures, fmt.Sprintf(format, args...))
}

func (f *failing) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	panic(stopped{})
}

// run runs fn like a test, and then its cleanups.
func (f *failing) run(fn func()) []string {
	func() {
		defer func() {
			if p := recover(); p != nil && p != any(stopped{}) {
				panic(p)
			}
		}()
		fn()
	}()
	for i := len(f.cleanups) - 1; i >= 0; i-- {
		f.cleanups[i]()
	}
	return f.failures
}

// What is wrong with the server of PGTEST_URL fails the test that needs it, and shows no password.
func TestDatabaseFails(t *testing.T) {
	own := acquire(t, pgserver.Options{Settings: map[string]string{"cluster_name": "roles"}}) // which stay
	execute(t, own.URL(), "drop role if exists maker, nobody_much")
	execute(t, own.URL(), "create role maker login createdb password 's3cretword'")
	execute(t, own.URL(), "create role nobody_much login password 's3cretword'")
	as := func(name string) string { return strings.Replace(own.URL(), "postgres@", name+":s3cretword@", 1) }
	for name, c := range map[string]struct {
		url   string
		after string // done to the server while the test has its database
		want  string
	}{
		"nobody listens": {
			"postgres://u:s3cretword@/postgres?host=" + t.TempDir(), "", "pgserver: create database: ",
		},
		"no URL":               {"s3cretword", "", "not a postgres:// URL"},
		"no right":             {as("nobody_much"), "", "permission denied to create database"},
		"it cannot be dropped": {as("maker"), "alter role maker nologin", "pgserver: drop database: "},
	} {
		t.Setenv("PGTEST_URL", c.url)
		f := &failing{TB: t}
		failures := f.run(func() {
			pgserver.Database(f)
			if c.after != "" {
				execute(t, own.URL(), c.after)
			}
		})
		if len(failures) != 1 || !strings.Contains(failures[0], c.want) || strings.Contains(failures[0], "s3cretword") {
			t.Errorf("%s: %q", name, failures)
		}
	}
	t.Setenv("PGTEST_URL", own.URL())
	s := acquire(t, pgserver.Options{}) // not ours to keep
	if err := errors.Join(s.Keep(1), s.EndKeep()); err != nil {
		t.Error(err)
	}
}
