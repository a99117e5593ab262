package pgtest_test

import (
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
