package pgtest_test

import (
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgtest"
)

// The rows of a recycled database are those of the template, whatever the test before did; what
// cannot be undone makes a new database.
func TestRecycle(t *testing.T) {
	t.Parallel()
	const schema = `create table parents (id int generated always as identity primary key, v text);
		create table children (id serial primary key, parent int not null references parents);
		create table kinds (k text primary key);
		insert into kinds values ('a'), ('b');
		insert into parents (v) select 'gone' from generate_series(1, 3); delete from parents;`
	for name, c := range map[string]struct {
		extra, does string
		reused      bool
	}{
		"rows": {
			"", "insert into parents (v) values ('x'); insert into children (parent) select id from parents", true,
		},
		"nothing":   {"", "select 1", true},
		"sequence":  {"", "select nextval('children_id_seq'), setval('parents_id_seq', 70)", true},
		"temporary": {"", "create temporary table scratch (id int)", true},
		"trigger": {
			"create function no() returns trigger language plpgsql as 'begin raise exception $$no$$; end'; create " +
				"trigger no before delete on parents for each statement execute function no();",
			"insert into parents (v) values ('x')", true,
		},
		"seeded rows": {"", "update kinds set k = 'c' where k = 'a'", false},
		"table":       {"", "create table more (id int)", false},
		"column":      {"", "alter table parents add more int", false},
		"dropped":     {"", "drop table children", false},
		"grant":       {"", "grant select on kinds to public", false},
		"setting": {
			"", "do $$ begin execute format('alter database %I set work_mem = ''5MB''', current_database()); end $$",
			false,
		},
		"function":     {"", "create function f() returns int language sql as 'select 1'", false},
		"large object": {"", "select lo_create(0)", false},
		"always firing": {
			"create function nothing() returns trigger language plpgsql as 'begin return null; end'; create trigger " +
				"t before delete on parents for each statement execute function nothing(); alter table parents " +
				"enable always trigger t;", "select 1", false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A template of its own, so that no other case's database comes up.
			m := pgtest.Migrations(fstest.MapFS{"001_a.sql": {Data: []byte(schema + c.extra + "\n-- " + name)}})
			var first, second string
			t.Run("first", func(t *testing.T) {
				pool := pgtest.New(t, m, pgtest.Recycle())
				first = pool.Config().ConnConfig.Database
				exec(t, pool, c.does)
			})
			t.Run("second", func(t *testing.T) {
				pool := pgtest.New(t, m, pgtest.Recycle())
				second = pool.Config().ConnConfig.Database
				checkFresh(t, pool)
			})
			if reused := first == second; reused != c.reused {
				t.Errorf("reused: %v, want %v", reused, c.reused)
			}
		})
	}
}

func checkFresh(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	var got string
	err := pool.QueryRow(t.Context(),
		`select concat_ws(' ', (select count(*) from parents), (select count(*) from children),
		(select string_agg(k, ',' order by k) from kinds), to_regclass('more') is null, nextval('parents_id_seq'),
			nextval('children_id_seq'))`).Scan(&got)
	if err != nil {
		t.Fatal(err)
	}
	if want := "0 0 a,b t 4 1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Neither a failed test's database nor one with a leaked connection is used again.
func TestRecycleNotAfterFailure(t *testing.T) {
	t.Parallel()
	m := pgtest.Migrations(fstest.MapFS{"001_a.sql": {Data: []byte("create table recycled (id int);")}})
	seen := map[string]bool{}
	for i := range 3 {
		r := &recorder{TB: t}
		r.run(func() {
			pool := pgtest.New(r, m, pgtest.Recycle())
			name := fmt.Sprint(pool.Config().ConnConfig.Database)
			if seen[name] {
				t.Error("used again")
			}
			seen[name] = true
			if i == 0 {
				r.Errorf("failed")
				return
			}
			conn, err := pool.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(conn.Release) // after r's end
		})
	}
}
