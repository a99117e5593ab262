package pgtest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgtest"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

var twoTables = fstest.MapFS{
	"001_authors.sql": {Data: []byte("create table authors (id int primary key);\n---- create above / drop below ----\ndrop table authors;\n")},
	"002_pages.sql":   {Data: []byte("create table pages (id int primary key);\n---- create above / drop below ----\ndrop table pages;\n")},
}

func TestNewIsMigratedAndOnesOwn(t *testing.T) {
	t.Parallel()
	for range 3 {
		pool := pgtest.New(t, pgtest.Migrations(twoTables))
		if n := count(t, pool, "pages"); n != 0 {
			t.Fatalf("%d rows of another test", n)
		}
		exec(t, pool, "insert into pages values (1)")
	}
}

// The role may do what an application does, and no more.
func TestRoleIsNoSuperuser(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, pgtest.Migrations(twoTables))
	var super, createDB, createRole bool
	err := pool.QueryRow(t.Context(), "select rolsuper, rolcreatedb, rolcreaterole from pg_roles where rolname = current_user").
		Scan(&super, &createDB, &createRole)
	if err != nil {
		t.Fatal(err)
	}
	if super || createDB || createRole {
		t.Errorf("superuser %v, createdb %v, createrole %v", super, createDB, createRole)
	}
	exec(t, pool, "create table more (id int)") // the database is its own
}

func TestURLIsTheSameForOtherDrivers(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), pgtest.URL(t, pgtest.Migrations(twoTables)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "insert into authors values (1)"); err != nil {
		t.Fatal(err)
	}
}

func TestDatabaseIsDropped(t *testing.T) {
	t.Parallel()
	// Held here, or the server might stop meanwhile and the database with it.
	server, err := pgserver.Acquire(t.Context(), pgserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Release()
	var name string
	t.Run("user", func(t *testing.T) {
		pool := pgtest.New(t, pgtest.Migrations(twoTables))
		if err := pool.QueryRow(t.Context(), "select current_database()").Scan(&name); err != nil {
			t.Fatal(err)
		}
		if !databaseExists(t, server, name) {
			t.Fatal("this test cannot see databases")
		}
	})
	for deadline := time.Now().Add(10 * time.Second); databaseExists(t, server, name); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there", name)
		}
	}
}

func databaseExists(t *testing.T, server *pgserver.Server, name string) bool {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var exists bool
	if err := conn.QueryRow(context.Background(), "select exists (select from pg_database where datname = $1)", name).Scan(&exists); err != nil {
		t.Fatal(err)
	}
	return exists
}

// Two folders that differ in a byte are two schemas, in one process and server.
func TestEachFolderIsASchemaOfItsOwn(t *testing.T) {
	t.Parallel()
	more := fstest.MapFS{"003_tags.sql": {Data: []byte("create table tags (id int);\n---- create above / drop below ----\ndrop table tags;\n")}}
	for name, f := range twoTables {
		more[name] = f
	}
	plain, tagged := pgtest.New(t, pgtest.Migrations(twoTables)), pgtest.New(t, pgtest.Migrations(more))
	count(t, tagged, "tags")
	var exists bool
	if err := plain.QueryRow(t.Context(), "select to_regclass('tags') is not null").Scan(&exists); err != nil {
		t.Fatal(err)
	}
	if exists {
		t.Error("the other folder's table is there")
	}
}

func TestParallel(t *testing.T) {
	t.Parallel()
	for i := range 12 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			pool := pgtest.New(t, pgtest.Migrations(twoTables))
			for n := range i {
				exec(t, pool, fmt.Sprintf("insert into pages values (%d)", n))
			}
			if n := count(t, pool, "pages"); n != i {
				t.Errorf("%d rows, want %d", n, i)
			}
		})
	}
}

// recorder is a test whose end and failures can be watched.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	cleanups []func()
	failures []string
	logs     []string
}

type fatal struct{}

func (r *recorder) Cleanup(fn func()) { r.cleanups = append(r.cleanups, fn) }
func (r *recorder) Failed() bool      { return len(r.failures) > 0 }
func (r *recorder) Logf(format string, args ...any) {
	r.logs = append(r.logs, fmt.Sprintf(format, args...))
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	panic(fatal{})
}

// run runs fn like a test and then its cleanups, and returns what failed.
func (r *recorder) run(fn func()) []string {
	guarded := func(fn func()) {
		defer func() {
			if p := recover(); p != nil && p != any(fatal{}) {
				panic(p)
			}
		}()
		fn()
	}
	guarded(fn)
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		guarded(r.cleanups[i])
	}
	return r.failures
}

// A connection that the code under test never gives back fails the test, and neither hangs it nor keeps the database.
func TestLeakedConnection(t *testing.T) {
	t.Parallel()
	r := &recorder{TB: t}
	var leaked *pgxpool.Conn
	began := time.Now()
	failures := r.run(func() {
		pool := pgtest.New(r, pgtest.Migrations(twoTables))
		count(t, pool, "pages") // released: not to be named
		conn, err := pool.Acquire(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		leaked = conn
	})
	if len(failures) != 1 || !strings.Contains(failures[0], "1 connection(s)") || strings.Contains(failures[0], "pgxpool") ||
		!strings.Contains(failures[0], "pgtest_test.TestLeakedConnection.func1\n") || !strings.Contains(failures[0], "pgtest_test.go:") {
		t.Errorf("failures: %q", failures)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the end took %s", took)
	}
	for deadline := time.Now().Add(10 * time.Second); leaked.Ping(context.Background()) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the leaked connection still works: its database was not dropped")
		}
	}
	leaked.Release()
}

// What is wrong with the migrations fails the test with the file's name, and no log line holds a password.
func TestBadMigrations(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fsys fstest.MapFS
		want string
	}{
		"gap":    {fstest.MapFS{"001_a.sql": {Data: []byte("select 1;")}, "003_c.sql": {Data: []byte("select 1;")}}, "003_c.sql"},
		"none":   {fstest.MapFS{}, "migration"},
		"syntax": {fstest.MapFS{"001_a.sql": {Data: []byte("creat table x ();")}}, "001_a.sql"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{TB: t}
			failures := r.run(func() { pgtest.New(r, pgtest.Migrations(c.fsys)) })
			if len(failures) == 0 || !strings.Contains(failures[0], c.want) {
				t.Errorf("failures: %q", failures)
			}
			if len(r.logs) > 0 {
				t.Errorf("logged: %q", r.logs)
			}
		})
	}
}

// Without an argument it is the nearest migrations folder beside a go.mod or go.work.
func TestNearestMigrations(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.work", "go 1.25.0\n")
	write("migrations/001_shared.sql", "create table shared (id int);\n")
	write("service/go.mod", "module service\n")
	write("service/internal/store/store.go", "package store\n")
	write("other/go.mod", "module other\n")
	write("other/migrations/001_others.sql", "create table others (id int);\n")

	t.Chdir(filepath.Join(root, "service/internal/store")) // its module has none: the workspace's
	count(t, pgtest.New(t), "shared")
	t.Chdir(filepath.Join(root, "other")) // the module's own
	count(t, pgtest.New(t), "others")

	alone := t.TempDir()
	t.Chdir(alone)
	r := &recorder{TB: t}
	if failures := r.run(func() { pgtest.New(r) }); len(failures) != 1 || !strings.Contains(failures[0], "pgtest.Migrations") {
		t.Errorf("without a folder: %q", failures)
	}
}

// The server named by PGTEST_URL is used, with a password that URLs must quote.
func TestConfiguredServer(t *testing.T) {
	dev := pgserver.Dev{Dir: shortDir(t), Port: freePort(t)}
	url, err := dev.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the databases' own cleanups
		if err := dev.Remove(context.Background()); err != nil {
			t.Error(err)
		}
	})
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `create role "ad min" superuser login password 'p@ss/w:rd %'`); err != nil {
		t.Fatal(err)
	}
	conn.Close(t.Context())
	configured := conn.Config().Copy()
	t.Setenv("PGTEST_URL", fmt.Sprintf("postgres://ad%%20min:p%%40ss%%2Fw%%3Ard%%20%%25@127.0.0.1:%d/postgres?sslmode=disable", configured.Port))

	pool := pgtest.New(t, pgtest.Migrations(twoTables))
	exec(t, pool, "insert into pages values (1)")
	if got := pool.Config().ConnConfig.Port; got != configured.Port {
		t.Errorf("port %d, want %d", got, configured.Port)
	}
}

func count(t *testing.T, pool *pgxpool.Pool, table string) int {
	t.Helper()
	var n int
	if err := pool.QueryRow(t.Context(), "select count(*) from "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func exec(t *testing.T, pool *pgxpool.Pool, sql string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}
