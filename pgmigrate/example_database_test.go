package pgmigrate_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// pages stands for os.DirFS("migrations").
var pages = fstest.MapFS{
	"001_pages.sql": {
		Data: []byte("create table pages (id int primary key, slug text not null);\n---- create above / drop below " +
			"----\ndrop table pages;\n"),
	},
	"002_titles.sql": {
		Data: []byte("alter table pages add title text;\n---- create above / drop below ----\nalter table pages " +
			"drop title;\n"),
	},
}

// databaseURL returns the address of a new, empty database, and a function that drops it.
func databaseURL() (url string, end func()) {
	e := &example{}
	return pgserver.Database(e), e.end
}

// newMigrator gives an example a migrator of the folder for such a database.
func newMigrator(
	folder fstest.MapFS, opts ...pgmigrate.Option,
) (m *pgmigrate.Migrator, cfg *pgx.ConnConfig, end func()) {
	e := &example{}
	cfg, err := pgx.ParseConfig(pgserver.Database(e))
	if err == nil {
		m, err = pgmigrate.New(cfg, folder, append([]pgmigrate.Option{pgmigrate.WithLogger(nil)}, opts...)...)
	}
	if err != nil {
		e.Fatalf("%v", err)
	}
	return m, cfg, e.end
}

// example implements pgserver.TB for an example, which has no testing.T.
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
