package pgtest_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgtest"
)

func ExampleNew() {
	t, end := test() // func TestPages(t *testing.T)
	defer end()
	pool := pgtest.New(t, pgtest.Migrations(pageFiles)) // by default the folder migrations of the project

	tag, err := pool.Exec(t.Context(), "insert into pages values (1, 'Home')")
	fmt.Println(tag, err)
	// Output: INSERT 0 1 <nil>
}

// For code that takes a transaction, or anything with Exec, Query and QueryRow.
func ExampleTx() {
	t, end := test()
	defer end()
	tx := pgtest.Tx(t, pgtest.Migrations(pageFiles))

	rename := func(ctx context.Context, tx pgx.Tx) (renamed int64, err error) { // the code under test
		tag, err := tx.Exec(ctx, "update pages set title = 'Welcome'")
		return tag.RowsAffected(), err
	}
	fmt.Println(rename(t.Context(), tx))
	// Output: 0 <nil>
}

// For other drivers, and for programs that read DATABASE_URL.
func ExampleURL() {
	t, end := test()
	defer end()
	conn, err := pgx.Connect(t.Context(), pgtest.URL(t, pgtest.Migrations(pageFiles)))
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer conn.Close(t.Context())
	fmt.Println(conn.Ping(t.Context()))
	// Output: <nil>
}

// Rows that every test begins with are put into the template, once.
func ExampleSeed() {
	t, end := test()
	defer end()
	// os.DirFS("testdata/seeds").
	seeds := fstest.MapFS{"home.sql": {Data: []byte("insert into pages values (1, 'Home')")}}
	pool := pgtest.New(t, pgtest.Migrations(pageFiles), pgtest.Seed(seeds))

	var title string
	err := pool.QueryRow(t.Context(), "select title from pages").Scan(&title)
	fmt.Println(title, err)
	// Output: Home <nil>
}

// The pool as the service has it: its size, its types, its settings.
func ExampleConfig() {
	t, end := test()
	defer end()
	pool := pgtest.New(t, pgtest.Migrations(pageFiles), pgtest.Config(func(cfg *pgxpool.Config) {
		cfg.MaxConns = 2
		cfg.ConnConfig.RuntimeParams["statement_timeout"] = "5s"
	}))

	var timeout string
	err := pool.QueryRow(t.Context(), "show statement_timeout").Scan(&timeout)
	fmt.Println(pool.Config().MaxConns, timeout, err)
	// Output: 2 5s <nil>
}

// What does the program do if the answer to its COMMIT is lost?
func ExampleCut() {
	t, end := test()
	defer end()
	pool := pgtest.New(t, pgtest.Migrations(pageFiles))
	sw := pgtest.Cut(t, pool.Config().ConnString())
	conn, err := pgx.Connect(t.Context(), sw.URL()) // or a pool: the code under test
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer conn.Close(t.Context())

	sw.CutCommits(1)
	err = pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "insert into pages values (1, 'Home')")
		return err
	})
	var rows int
	if err := pool.QueryRow(t.Context(), "select count(*) from pages").Scan(&rows); err != nil {
		t.Fatalf("%v", err)
	}
	fmt.Println("an error:", err != nil, "and a row:", rows)
	// Output: an error: true and a row: 1
}

// How many statements does a page take, and does an index serve each?
func ExampleWatch() {
	t, end := test()
	defer end()
	pool := pgtest.New(t, pgtest.Migrations(pageFiles))
	queries := pgtest.Watch(t, pool)

	var title string // the code under test
	err := pool.QueryRow(t.Context(), "select title from pages where id = $1", 1).Scan(&title)

	queries.AtMost(1)
	queries.UsesIndexes()
	fmt.Println(queries.Count(), err)
	// Output: 1 no rows in result set
}
