package pgtest_test

import (
	"context"
	"fmt"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgtest"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

var twoTables = fstest.MapFS{
	"001_authors.sql": {
		Data: []byte("create table authors (id int primary key);\n---- create above / drop below ----\ndrop table " +
			"authors;\n"),
	},
	"002_pages.sql": {
		Data: []byte("create table pages (id int primary key);\n---- create above / drop below ----\ndrop table " +
			"pages;\n"),
	},
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
	// Polls.
	for deadline := time.Now().Add(time.Minute); databaseExists(t, server, name); time.Sleep(10 * time.Millisecond) {
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
	if err := conn.QueryRow(context.Background(), "select exists (select from pg_database where datname = $1)",
		name).Scan(&exists); err != nil {
		t.Fatal(err)
	}
	return exists
}

// Two folders that differ in a byte are two schemas, in one process and server.
func TestEachFolderIsASchemaOfItsOwn(t *testing.T) {
	t.Parallel()
	more := fstest.MapFS{
		"003_tags.sql": {
			Data: []byte("create table tags (id int);\n---- create above / drop below ----\ndrop table tags;\n"),
		},
	}
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
