package pgtx_test

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// openPages gives an example a database of its own with the pages 1 and 2, "Home" and "About", and
// what ends both.
func openPages() (pool *pgxpool.Pool, end func()) {
	example := &example{}
	pool, err := pgxpool.New(context.Background(), pgserver.Database(example))
	if err == nil {
		_, err = pool.Exec(context.Background(), `
			create table pages (id int primary key, title text not null unique,
				published boolean not null default false);
			create table revisions (page int not null references pages, title text not null);
			insert into pages values (1, 'Home'), (2, 'About')`)
	}
	if err != nil {
		example.Fatalf("%v", err)
	}
	return pool, func() { pool.Close(); example.end() }
}

// titles are those of all pages, in order.
func titles(pool *pgxpool.Pool) (titles string) {
	if err := pool.QueryRow(context.Background(), `select coalesce(string_agg(title, ', ' order by id), '') from pages`).Scan(&titles); err != nil {
		return err.Error()
	}
	return titles
}

// example is what an example is to pgserver: it has no testing.T.
type example struct{ cleanups []func() }

func (*example) Helper()                           {}
func (*example) Name() string                      { return "Example" }
func (*example) Context() context.Context          { return context.Background() }
func (e *example) Cleanup(fn func())               { e.cleanups = append(e.cleanups, fn) }
func (*example) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) } // is not in the Output
func (*example) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (e *example) end() {
	for i := len(e.cleanups) - 1; i >= 0; i-- {
		e.cleanups[i]()
	}
}
