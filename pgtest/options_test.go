package pgtest_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/peterldowns/pgtestdb"

	"github.com/page-builder/persistence/pgtest"
)

// Seeds are part of the template: another seed, another template.
func TestSeed(t *testing.T) {
	t.Parallel()
	one := fstest.MapFS{
		"1_authors.sql": {Data: []byte("insert into authors values (1); insert into authors values (2);")},
	}
	two := fstest.MapFS{"2_pages.sql": {Data: []byte("insert into pages select id from authors")}}
	two["test/1_more.sql"] = &fstest.MapFile{Data: []byte("insert into authors values (3); set search_path = nowhere;")}
	two["test/2_more.sql"] = &fstest.MapFile{Data: []byte("insert into authors select count(*) + 1 from all_pages")}
	two["staging/1.sql"] = &fstest.MapFile{Data: []byte("insert into nowhere values (1)")}
	view := fstest.MapFS{"v.sql": {Data: []byte("create view all_pages as select from pages, generate_series(1, 2)")}}
	both := pgtest.New(t, pgtest.Migrations(twoTables), pgtest.Repeatable(view), pgtest.Seed(one), pgtest.Seed(two))
	if a, p := count(t, both, "authors"), count(t, both, "pages"); a != 4 || p != 2 {
		t.Errorf("%d authors, %d pages", a, p)
	}
	if a := count(t, pgtest.New(t, pgtest.Migrations(twoTables)), "authors"); a != 0 {
		t.Errorf("%d authors without seeds", a)
	}
	for name, c := range map[string]struct {
		seeds fstest.MapFS
		want  string
	}{
		"none": {fstest.MapFS{}, "pgtest.Seed"},
		"bad":  {fstest.MapFS{"7_bad.sql": {Data: []byte("insert into nowhere values (1)")}}, "7_bad.sql"},
	} {
		r := &recorder{TB: t}
		failures := r.run(func() { pgtest.New(r, pgtest.Migrations(twoTables), pgtest.Seed(c.seeds)) })
		if len(failures) != 1 || !strings.Contains(failures[0], c.want) {
			t.Errorf("%s: %q", name, failures)
		}
	}
}

func TestSuperuser(t *testing.T) {
	t.Parallel()
	const mine = "select rolsuper from pg_roles where rolname = current_user"
	for want, opts := range map[bool][]pgtest.Option{false: nil, true: {pgtest.Superuser()}} {
		var super bool
		if err := pgtest.New(t, append(opts, pgtest.Migrations(twoTables))...).QueryRow(t.Context(),
			mine).Scan(&super); err != nil {
			t.Fatal(err)
		}
		if super != want {
			t.Errorf("superuser %v, want %v", super, want)
		}
	}
}

type notices struct{}

func (notices) Hash() (string, error) { return "notices", nil }
func (notices) Migrate(ctx context.Context, db *sql.DB, _ pgtestdb.Config) error {
	_, err := db.ExecContext(ctx, "create table notices (id int)")
	return err
}

type explosive struct{}

func (explosive) Hash() (string, error)                                   { return "explosive", nil }
func (explosive) Migrate(context.Context, *sql.DB, pgtestdb.Config) error { panic("boom") }

func TestMigrator(t *testing.T) {
	t.Parallel()
	if n := count(t, pgtest.New(t, pgtest.Migrator(notices{})), "notices"); n != 0 {
		t.Error(n)
	}
	r := &recorder{TB: t}
	if failures := r.run(func() {
		pgtest.New(r, pgtest.Migrator(explosive{}))
	}); len(failures) != 1 || !strings.Contains(failures[0], "boom") {
		t.Errorf("%q", failures)
	}
}

// counter is a tracer of the user's own, which must go on working.
type counter struct{ queries int }

func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.queries++
	return ctx
}
func (c *counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func TestConfig(t *testing.T) {
	t.Parallel()
	var c counter
	pool := pgtest.New(t, pgtest.Migrations(twoTables), pgtest.Config(func(cfg *pgxpool.Config) {
		cfg.MaxConns = 1
		cfg.ConnConfig.RuntimeParams["application_name"] = "configured"
		cfg.ConnConfig.Tracer = &c
	}))
	var name string
	if err := pool.QueryRow(t.Context(), "select current_setting('application_name')").Scan(&name); err != nil {
		t.Fatal(err)
	}
	if name != "configured" || pool.Config().MaxConns != 1 || c.queries == 0 {
		t.Errorf("%q, %d connections, %d queries seen", name, pool.Config().MaxConns, c.queries)
	}
}

// A test may have several databases, of different schemas too.
func TestSeveralDatabases(t *testing.T) {
	t.Parallel()
	a, b := pgtest.New(t, pgtest.Migrations(twoTables)), pgtest.New(t, pgtest.Migrations(twoTables))
	other := pgtest.New(t, pgtest.Migrator(notices{}))
	exec(t, a, "insert into pages values (1)")
	exec(t, other, "insert into notices values (1)")
	if n := count(t, b, "pages"); n != 0 {
		t.Errorf("%d rows of the other database", n)
	}
}
