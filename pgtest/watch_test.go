package pgtest_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgtest"
)

var watchedSchema = pgtest.Migrations(fstest.MapFS{"001_a.sql": {Data: []byte(`
	create table sites (id int primary key, name text, age int);
	create table pages (id int primary key, site int references sites, title text);
	create index on pages (title);
	insert into sites values (1, 'a', 1), (2, 'b', 2);`)}})

// watched runs fn on a watched pool and returns what the checks say.
func watched(t *testing.T, fn func(*pgxpool.Pool), check func(*pgtest.Watched)) string {
	t.Helper()
	r := &recorder{TB: t}
	return strings.Join(r.run(func() {
		pool := pgtest.New(r, watchedSchema)
		w := pgtest.Watch(r, pool)
		fn(pool)
		check(w)
	}), "\n")
}

func query(t *testing.T, db interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}, sql string, args ...any,
) {
	t.Helper()
	rows, err := db.Query(t.Context(), sql, args...)
	if err == nil {
		rows.Close()
		err = rows.Err()
	}
	if err != nil {
		t.Errorf("%s: %v", sql, err)
	}
}

// Transactions, settings and comments do not count; queries, batches and COPY do.
func TestWatchCounts(t *testing.T) {
	t.Parallel()
	got := watched(t, func(pool *pgxpool.Pool) {
		if err := pool.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
			query(t, tx, "set local work_mem = '5MB'")
			query(t, tx, "-- name: Sites :many\nselect id from sites")
			b := &pgx.Batch{}
			b.Queue("select 1")
			b.Queue("select 2")
			if err := tx.SendBatch(t.Context(), b).Close(); err != nil {
				return err
			}
			_, err := tx.CopyFrom(t.Context(), pgx.Identifier{"pages"}, []string{"id"},
				pgx.CopyFromRows([][]any{{1}}))
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}, func(w *pgtest.Watched) {
		if n := w.Count(); n != 4 {
			t.Errorf("%d statements, want 4", n)
		}
		w.AtMost(4)
		w.AtMost(3)
		w.Reset()
		w.AtMost(0)
	})
	if strings.Count(got, "pgtest:") != 1 || !strings.Contains(got, "4 statements were sent, want at most 3") ||
		!strings.Contains(got, "select id from sites") || !strings.Contains(got, "watch_test.go:") ||
		!strings.Contains(got, `copy "pages" from stdin`) {
		t.Errorf("got %q", got)
	}
}

// The same statement for one row after another is named with the line that sends it, and without
// its arguments. In a batch it is one round trip.
func TestWatchNamesRepeats(t *testing.T) {
	t.Parallel()
	const sql = "select title from pages where id = $1"
	got := watched(t, func(pool *pgxpool.Pool) {
		for id := range 3 {
			query(t, pool, sql, 7000+id)
		}
	}, func(w *pgtest.Watched) {
		w.AtMost(2)
		w.NoRepeats()
	})
	if strings.Count(got, "n + 1: sent with 3 different arguments") != 2 || !strings.Contains(got, "3 × "+sql) ||
		!strings.Contains(got, "watch_test.go:") || strings.Contains(got, "7000") {
		t.Errorf("got %q", got)
	}
	got = watched(t, func(pool *pgxpool.Pool) {
		b := &pgx.Batch{}
		for id := range 5 {
			b.Queue(sql, id)
		}
		if err := pool.SendBatch(t.Context(), b).Close(); err != nil {
			t.Error(err)
		}
		for range 5 {
			query(t, pool, sql, 1)
		}
	}, (*pgtest.Watched).NoRepeats)
	if got != "" {
		t.Errorf("a batch, and equal arguments: %q", got)
	}
}

// Arguments are compared as they were when they were sent, behind pointers too.
func TestWatchArguments(t *testing.T) {
	t.Parallel()
	got := watched(t, func(pool *pgxpool.Pool) {
		for range 4 {
			same := 7
			query(t, pool, "select $1::int", &same)
		}
	}, (*pgtest.Watched).NoRepeats)
	if got != "" {
		t.Errorf("pointers to equal values: %q", got)
	}
	got = watched(t, func(pool *pgxpool.Pool) {
		reused := []byte("a")
		for range 3 {
			query(t, pool, "select $1::bytea", reused)
			reused[0]++
		}
	}, (*pgtest.Watched).NoRepeats)
	if !strings.Contains(got, "3 × select $1::bytea") {
		t.Errorf("a slice that is changed: %q", got)
	}
}

// A statement that was prepared under a name counts as what it is, whatever the name is.
func TestWatchPrepared(t *testing.T) {
	t.Parallel()
	got := watched(t, func(pool *pgxpool.Pool) {
		err := pool.AcquireFunc(t.Context(), func(c *pgxpool.Conn) error {
			_, err := c.Conn().Prepare(t.Context(), "set_site", "select title from pages where site = $1")
			if err == nil {
				query(t, c, "set_site", 1)
				b := &pgx.Batch{}
				b.Queue("set_site", 2)
				err = c.SendBatch(t.Context(), b).Close()
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}, func(w *pgtest.Watched) {
		w.AtMost(1)
		w.UsesIndexes()
	})
	if !strings.Contains(got, "2 × select title from pages") || !strings.Contains(got, "reads all of pages:") {
		t.Errorf("got %q", got)
	}
}

// A statement that no index serves fails with its plan, however few rows the table has.
func TestWatchUsesIndexes(t *testing.T) {
	t.Parallel()
	for sql, table := range map[string]string{
		"select name from sites where id = $1":                                        "",
		"select id from pages where title = 'x' order by id":                          "",
		"select * from sites":                                                         "",
		"select count(*) from sites":                                                  "",
		"insert into sites values ($1)":                                               "",
		"update sites set name = 'x' where id = $1":                                   "",
		"select relname from pg_class where relpages = 7":                             "",
		"select p.title from pages p join sites s on s.id = p.site":                   "",
		"select title from pages order by title limit 5":                              "",
		"select id from sites where age = $1":                                         "sites",
		"update sites set name = 'x' where age = $1":                                  "sites",
		"delete from pages where site = $1":                                           "pages",
		"with a as (select id from sites where age = $1) select * from a":             "sites",
		"select p.title from sites s join pages p on p.site = s.id where s.id = $1":   "pages",
		"select a.id from sites a join sites b on a.age = b.age":                      "sites, sites",
		"select id from sites order by age limit 5":                                   "sites",
		"select id from sites where id = $1 and exists (select from pages where 1=2)": "",
	} {
		t.Run(sql, func(t *testing.T) {
			t.Parallel()
			got := watched(t, func(pool *pgxpool.Pool) {
				var args []any
				if strings.Contains(sql, "$1") {
					args = append(args, 9)
				}
				query(t, pool, sql, args...)
			}, (*pgtest.Watched).UsesIndexes)
			if table == "" && got != "" || table != "" && (!strings.Contains(got, "reads all of "+table+":") ||
				!strings.Contains(got, "Seq Scan") || !strings.Contains(got, "watch_test.go:")) {
				t.Errorf("want %q, got %q", table, got)
			}
		})
	}
}

// Golden plans are written on demand, and a plan that differs fails the test.
func TestGoldenPlans(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("go.mod", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(sql string) string {
		t.Helper()
		return watched(t, func(pool *pgxpool.Pool) { query(t, pool, sql) }, (*pgtest.Watched).GoldenPlans)
	}
	const sql = "select name from sites where id = 1"
	if got := check(sql); !strings.Contains(got, "PGTEST_UPDATE=1") {
		t.Errorf("without a file: %q", got)
	}
	t.Setenv("PGTEST_UPDATE", "1")
	if got := check(sql); got != "" {
		t.Errorf("writing: %q", got)
	}
	t.Setenv("PGTEST_UPDATE", "")
	if got := check(sql); got != "" {
		t.Errorf("the same plan: %q", got)
	}
	if got := check("select name from sites where age = 1"); !strings.Contains(got, "the plans differ") {
		t.Errorf("another plan: %q", got)
	}
}

// A pool that pgtest did not make is watched with its tracer, and refused without.
func TestWatchOtherPools(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t, watchedSchema)
	open := func(tracer pgx.QueryTracer) *pgxpool.Pool {
		cfg, err := pgxpool.ParseConfig(url)
		if err != nil {
			t.Fatal(err)
		}
		cfg.ConnConfig.Tracer = tracer
		pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		return pool
	}
	pool := open(pgtest.NewTracer())
	w := pgtest.Watch(t, pool)
	query(t, pool, "select 1")
	if n := w.Count(); n != 1 {
		t.Errorf("%d statements, want 1", n)
	}
	r := &recorder{TB: t}
	failures := r.run(func() { pgtest.Watch(r, open(nil)) })
	if len(failures) != 1 || !strings.Contains(failures[0], "pgtest.NewTracer()") {
		t.Errorf("failures: %q", failures)
	}
}

// A role sees the rows that the policies give it.
func TestAsRole(t *testing.T) {
	t.Parallel()
	_, env := ownServer(t)
	runChild(t, "TestChildActsAsRole", env)
}

func TestChildActsAsRole(t *testing.T) {
	onlyAsChild(t)
	pool := pgtest.New(t, pgtest.Superuser(), pgtest.Migrations(fstest.MapFS{"001_a.sql": {Data: []byte(`
		create role reader; create role almighty bypassrls;
		create table notes (tenant int, note text);
		alter table notes enable row level security;
		create policy own on notes using (tenant = current_setting('app.tenant')::int);
		grant select on notes to reader;
		insert into notes values (1, 'one'), (2, 'two');`)}}))
	second := pgtest.AsRole(t, pool, "reader", map[string]string{"app.tenant": "2"})
	var notes string
	if err := second.QueryRow(t.Context(), "select string_agg(note, ',') from notes").Scan(&notes); err != nil {
		t.Fatal(err)
	}
	if notes != "two" {
		t.Errorf("saw %q, want two", notes)
	}
	if _, err := second.Exec(t.Context(), "delete from notes"); err == nil {
		t.Error("the role may delete")
	}
	for role, want := range map[string]string{"nobody_there": "there is no such role", "almighty": "BYPASSRLS"} {
		r := &recorder{TB: t}
		failures := r.run(func() { pgtest.AsRole(r, pool, role, nil) })
		if len(failures) != 1 || !strings.Contains(failures[0], want) {
			t.Errorf("%s: %q", role, failures)
		}
	}
}
