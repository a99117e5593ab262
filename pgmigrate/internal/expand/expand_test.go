package expand_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/backfill"
	"github.com/page-builder/persistence/pgmigrate/internal/expand"
)

const sites = `
create table public.kinds (code text primary key);
insert into public.kinds select 'Kind ' || i from generate_series(0, 9) i;
create table public.sites (
  id bigint primary key, name text not null default 'Kind 0' constraint named check (name <> '') references kinds,
  n int not null default 1 check (n > 0), unique (name, id)
);
create index sites_name_lower on public.sites (lower(name)) where name <> 'q';
comment on column public.sites.name is 'the site''s name';
grant select (name), update (name) on public.sites to public`

var cases = map[string]struct {
	schema, rows     string
	opts             expand.Options
	before, after    []string // writes of the two versions, with a number from 1 to 500
	wrong            string   // finds rows that are not in step while both columns are there
	contracted, back string   // finds rows that are wrong in the end, and after the way back
}{
	"rename": {
		schema: sites, rows: "insert into sites (id, name) select i, 'Kind 1' from generate_series(1, 500) i",
		opts: expand.Options{Kind: expand.Rename, Table: "sites", Column: "name", To: []string{"title"}},
		before: []string{
			"update sites set name = 'Kind ' || (n + 1) % 10, n = n + 1 where id = $1",
			"insert into sites (id, name) values ($1, 'Kind 1') on conflict (id) do update set name = 'Kind 1', n = 1",
			"insert into sites (id) values ($1 + 1000 + floor(random() * 1e9)::int)",
		},
		after: []string{
			"update sites set title = 'Kind ' || (n + 2) % 10, n = n + 2 where id = $1",
			"insert into sites (id, title) values ($1, 'Kind 1') on conflict (id) do update set title = 'Kind 1', n = 1",
			"insert into sites (id) values ($1 + 1000 + floor(random() * 1e9)::int)",
			"delete from sites where id = $1",
		},
		wrong:      "select count(*) from sites where title is distinct from name",
		contracted: "select count(*) from sites where title <> 'Kind ' || n % 10 and id <= 1000",
		back:       "select count(*) from sites where name <> 'Kind ' || n % 10 and id <= 1000",
	},
	"type": {
		schema: `create table public.rows (id serial primary key, n int unique, note text not null default '');
			create index on public.rows (n desc); create index on public.rows (id, n)`,
		rows: "insert into rows (n) select i from generate_series(1, 500) i",
		opts: expand.Options{Kind: expand.Type, Table: "public.rows", Column: "id", Type: "bigint"},
		before: []string{
			"update rows set n = n + 500 where id = $1 and n is not null", "insert into rows (note) values ($1::text)",
			"delete from rows where id = $1",
		},
		after: []string{
			"update rows set n = n + 500 where id = $1 and n is not null", "insert into rows (note) values ($1::text)",
		},
		wrong:      "select count(*) from rows where n is not null and id <> (n - 1) % 500 + 1",
		contracted: "select count(*) from rows where n is not null and id <> (n - 1) % 500 + 1",
		back:       "select count(*) from rows where n is not null and id <> (n - 1) % 500 + 1",
	},
	"split": {
		schema: `create table public.users (tenant int, id int, name text not null, primary key (tenant, id))`,
		rows:   "insert into users select i % 3, i, 'First' || i || ' Last' from generate_series(1, 500) i",
		opts: expand.Options{
			Kind: expand.Split, Table: "users", Column: "name",
			To: []string{
				"first_name=split_part(name, ' ', 1)", "last_name = substr(name, length(split_part(name, ' ', 1)) + 2)",
			},
			Back: "first_name || coalesce(' ' || nullif(last_name, ''), '')",
		},
		before: []string{
			"update users set name = name || '.' where id = $1",
			"insert into users values (1, $1, 'Anna') on conflict do nothing",
			"insert into users values (9, $1, 'Anna Maria Meier') on conflict (tenant, id) do update set name = excluded.name",
		},
		after: []string{
			"update users set first_name = first_name || '!' where id = $1",
			"update users set last_name = last_name || '.' where id = $1 and last_name <> ''",
			"insert into users (tenant, id, first_name, last_name) values (8, $1, 'Anna', 'M') on conflict do nothing",
		},
		wrong:      "select count(*) from users where name is distinct from concat_ws(' ', first_name, nullif(last_name, ''))",
		contracted: "select count(*) from users where first_name is null or last_name is null",
		back:       "select count(*) from users where name is null or name !~ '^(First[0-9]+[!.]* Last|Anna)'",
	},
}

// Both versions of a service write while a change runs from the first file to the last, and the old
// one's columns come back with all values.
func TestUnderLoad(t *testing.T) {
	t.Parallel()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, c.schema, c.rows, c.opts)
			defer b.log()
			was := b.schema()
			old := b.load(c.before)
			b.to(2)
			b.backfill()
			b.none("", c.wrong)
			b.to(b.last() - 1)
			now := b.load(c.after)
			old()
			b.none("both versions ran", c.wrong)
			b.to(b.last())
			now()
			b.none("contracted", c.contracted)
			b.to(b.last() - 1)
			both := []func(){b.load(c.before), b.load(c.after)}
			b.none("contract taken back", c.wrong)
			for _, stop := range both {
				stop()
			}
			b.none("written again", c.wrong)
			b.to(1)
			b.none("taken back", c.back)
			if is := b.schema(); is != was {
				t.Errorf("the schema differs afterwards:\n%s\nwas\n%s", is, was)
			}
		})
	}
}

// Sessions of the migrations and of the backfill are killed at random.
func TestKilled(t *testing.T) {
	t.Parallel()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, c.schema, c.rows, c.opts)
			defer b.log()
			stop := b.load(c.before)
			kill := b.connect()
			for version := 2; version < b.last(); {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				done := make(chan error, 1)
				go func() {
					r, err := backfill.New(b.config, b.backfills,
						backfill.Options{Logger: slog.New(slog.DiscardHandler)})
					if err == nil && version > 2 {
						err = r.Run(ctx, b.change.Name)
					}
					if err == nil {
						_, err = b.migrator().To(ctx, int32(version))
					}
					done <- err
				}()
				for range rand.N(4) {
					if _, err := kill.Exec(ctx, `select pg_terminate_backend(pid) from pg_stat_activity
where datname = current_database() and application_name like 'pgmigrate%' and pid <> pg_backend_pid()`); err != nil {
						t.Error(err)
					}
				}
				err := <-done
				cancel()
				var wrong *pgmigrate.DirtyError
				switch {
				case err == nil:
					version++
				case errors.As(err, &wrong) || t.Context().Err() != nil:
					t.Fatal(err)
				}
			}
			stop()
			b.none("", c.wrong)
		})
	}
}

// load runs statements with a number until the function that it returns is called, and at least 50
// of them. None may fail.
func (b *bench) load(sqls []string) (stop func()) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	var together sync.WaitGroup
	for range 2 {
		conn := b.connect()
		together.Go(func() {
			for n := 0; ctx.Err() == nil || n < 50; n++ {
				sql := sqls[rand.N(len(sqls))]
				if _, err := conn.Exec(b.t.Context(), sql, pgx.QueryExecModeExec, rand.N(500)+1); err != nil {
					b.t.Errorf("the service failed: %s: %v", sql, err)
					return
				}
			}
		})
	}
	stop = sync.OnceFunc(func() { cancel(); together.Wait() })
	b.t.Cleanup(stop)
	return stop
}

func (b *bench) none(when, sql string) {
	b.t.Helper()
	if n := ask[int](b, sql); n != 0 {
		b.t.Errorf("%s: %d rows: %s", when, n, sql)
	}
}

// schema describes all tables, whatever the order of their columns.
func (b *bench) schema() string {
	return ask[string](b, `select string_agg(line, E'\n' order by line) from (
select format('%s.%s %s %s %s %s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull,
  pg_get_expr(adbin, adrelid), attacl, col_description(attrelid, attnum)) as line
from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
where attrelid in (select oid from pg_class where relkind in ('r', 'p') and relnamespace in
    (select oid from pg_namespace
      where nspname not like 'pg\_%' and nspname not in ('information_schema', 'pgmigrate')))
  and attnum > 0 and not attisdropped
union all select pg_get_indexdef(indexrelid) from pg_index join pg_class c on c.oid = indrelid
where relnamespace in (select oid from pg_namespace where nspname not like 'pg\_%' and nspname <> 'pgmigrate')
union all select format('%s %s %s', conrelid::regclass, conname,
  replace(pg_get_constraintdef(oid), ' NOT VALID', '')) from pg_constraint
where contype <> 'n' and connamespace in
  (select oid from pg_namespace where nspname not like 'pg\_%' and nspname not in ('information_schema', 'pgmigrate'))
union all select format('%s %s', tgrelid::regclass, tgname) from pg_trigger where not tgisinternal
union all select format('%s owned by %s', objid::regclass, refobjsubid::text || refobjid::regclass) from pg_depend
where deptype = 'a' and classid = 'pg_class'::regclass and false
) lines`)
}

// Odd names and types come through a rename and back.
func TestOdd(t *testing.T) {
	t.Parallel()
	names := []string{
		`"select"`, `"My Column"`, `"a""b"`, `"it's"`, `"{{ .x }}"`, `"Ärger"`, `"$1"`, `"new"`, `old`, `tg_op`, `"a.b"`,
		`"--x"`, `"current_date"`,
	}
	values := map[string]string{
		"text": "'it''s'", "json": `'{"a": 1}'`, "jsonb": `'{"a": 1.0}'`, "numeric(10,2)": "1.10", "point": "'(1,2)'",
		"int[]": "'{1,2}'", "timestamptz": "now()", `"odd schema"."An ""Enum"`: "'b'", `"odd schema".positive`: "7",
		`varchar(5) collate "C"`: "'abc'", "bytea": `'\x00ff'`, "interval": "'1 day'", "bool": "true", "xml": "'<a/>'",
		`"odd schema".pair`: "'(1,x)'", "char(4)": "'ab'", "float8": "'-0'", "bit(3)": "B'101'", "int4range": "'[1,2)'",
		"numeric": "1.00", "tsvector": "'a b'", "money": "1",
	}
	i := 0
	for typ, value := range values {
		table, column, to := names[i%len(names)], names[(i+3)%len(names)], names[(i+7)%len(names)]
		i++
		t.Run(typ, func(t *testing.T) {
			t.Parallel()
			qualified := `"odd schema".` + table
			schema := `create schema "odd schema"; create type "odd schema"."An ""Enum" as enum ('a', 'b');
create domain "odd schema".positive as int check (value > 0); create type "odd schema".pair as (a int, b text);
create table ` + qualified + ` ("The key" uuid primary key default gen_random_uuid(), other int, ` + column + " " + typ + " not null)"
			schema = escape(schema)
			b := setup(t, schema, "insert into "+qualified+" ("+column+") select "+value+" from generate_series(1, 20)",
				expand.Options{
					Kind: expand.Rename, Name: "odd_one", Table: qualified, Column: column, To: []string{to},
				})
			defer b.log()
			was := b.schema()
			b.to(2)
			b.exec(fmt.Sprintf("insert into %s (%s) values (%s)", qualified, column, value))
			b.backfill()
			b.to(b.last() - 1)
			b.exec(fmt.Sprintf("insert into %s (%s) values (%s); update %[1]s set other = 1", qualified, to, value))
			b.none("in step", fmt.Sprintf("select count(*) from %s r where record_image_ne(row(r.%s), row(r.%s)) or r.%[2]s is null",
				qualified, column, to))
			b.to(b.last())
			b.none("contracted", fmt.Sprintf("select count(*) - 22 from %s r where r.%s is not null", qualified, to))
			b.to(1)
			b.none("back", fmt.Sprintf("select count(*) - 22 from %s r where r.%s is not null", qualified, column))
			if is := b.schema(); is != was {
				t.Errorf("the schema differs afterwards:\n%s\nwas\n%s", is, was)
			}
		})
	}
}

func escape(sql string) string {
	var b []byte
	for i := 0; i < len(sql); i++ {
		if i+1 < len(sql) && sql[i:i+2] == "{{" {
			b, i = append(b, "{{\"{{\"}}"...), i+1
			continue
		}
		b = append(b, sql[i])
	}
	return string(b)
}

func TestRefused(t *testing.T) {
	t.Parallel()
	b := open(t)
	rename := expand.Options{Kind: expand.Rename, Table: "t", Column: "a", To: []string{"b"}}
	toType := func(typ, using string) expand.Options {
		return expand.Options{Kind: expand.Type, Table: "t", Column: "a", Type: typ, Using: using}
	}
	split := func(back string, to ...string) expand.Options {
		return expand.Options{Kind: expand.Split, Table: "t", Column: "a", To: to, Back: back}
	}
	const simple = "create table t (id int primary key, a text, x text)"
	for _, c := range []struct {
		schema string
		opts   expand.Options
		want   string
	}{
		{"", rename, "no table t"},
		{"create view t as select 1 as a", rename, "no ordinary table"},
		{"create table t (id int primary key, a text generated always as ('x') stored)", rename, "generated column"},
		{"create table t (id int primary key, a int generated always as identity)", rename, "identity column"},
		{"create table t (id int, a int) partition by range (a)", rename, "partitioned by it"},
		{"create table p (id int primary key, a int); create table t (primary key (id)) inherits (p)", rename, "inherited"},
		{"create table t (id int primary key, a int); create table c () inherits (t)", rename, "children by inheritance"},
		{"create table t (id int primary key, a int unique); create table r (a int references t (a))", rename, "r_a_fkey of public.r"},
		{"create table t (id int, a text)", rename, "no key for a backfill"},
		{"create table t (id int unique, a text)", rename, "no key for a backfill"},
		{"create table t (id int not null, a text); create unique index on t (id) where a = ''", rename, "no key for a backfill"},
		{"create table t (id text not null, a text); create unique index on t (id text_pattern_ops)", rename, "no key for a backfill"},
		{simple + "; create function t_b() returns int language sql as 'select 1'", rename, "there is a function of the name t_b"},
		{"create domain d as text not null; create table t (id int primary key, a d)", rename, "cannot be added without values"},
		{"create domain d as text default 'x'; create table t (id int primary key, a d)", rename, "the type public.d has a default"},
		{"create type r as (id int, a text); create table t of r (primary key (id))", rename, "takes its columns from a type"},
		{simple, toType("text", ""), "is of type text already"},
		{simple, toType("int[][", ""), "syntax error"},
		{simple, toType("int not null", ""), "syntax error"},
		{simple, toType("date", ""), "depends on settings of the session"},
		{simple, toType("int", "length(nothing(a))"), "nothing(text) does not exist"},
		{simple, toType("int", "length(x)"), "reads the column x"},
		{simple, toType("int", "random()::int"), "changes from call to call"},
		{simple, toType("point", "a"), "--using EXPRESSION"},
		{simple + "; create index on t (a text_pattern_ops)", toType("int", "length(a)"), "text_pattern_ops"},
		{
			simple + "; create function f(text) returns text immutable language sql as 'select $1'", toType("text[]", "array[f(a)]"),
			"f(text) does not exist",
		},
		{simple, split("b", "b"), "b=EXPRESSION"},
		{simple, split("b || x", "b=left(a, 1)"), "reads the column x"},
		{simple, split("b", "b=left(a, 1)", "b=a"), "column b"},
		{simple, split("b", "x=left(a, 1)"), "column x already"},
		{simple, split("nothing", "b=left(a, 1)"), "--back"},
		{simple, expand.Options{Kind: expand.Rename, Table: "t", Column: "a", To: []string{"b"}, Name: "A"}, "the name \"A\""},
		{simple, expand.Options{Kind: expand.Rename, Table: "t", Column: "a", To: []string{"b c"}}, "as in SQL"},
	} {
		t.Run(c.want, func(t *testing.T) {
			b.exec("drop schema public cascade; create schema public; " + c.schema)
			change, err := expand.Plan(t.Context(), b.conn, c.opts)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("want %q, got %v, %+v", c.want, err, change)
			}
		})
	}
}

// What the new column does not get stops the switch.
func TestLeft(t *testing.T) {
	t.Parallel()
	rename := expand.Options{Kind: expand.Rename, Table: "t", Column: "a", To: []string{"b"}}
	for schema, c := range map[string]struct {
		opts expand.Options
		want string
	}{
		"create extension if not exists btree_gist; create table t (id int primary key, a int, exclude using gist (a with =))": {rename, "constraint t_a_excl"},
		"create table t (id int, a int not null, primary key (id)) partition by hash (id); create index i on t (a)":            {rename, "index i"},
		"create table t (id int primary key, a int not null unique); alter table t replica identity using index t_a_key":       {rename, "constraint t_a_key"},
		"create table r (id int primary key); create table t (id int primary key, a int references r)": {
			expand.Options{Kind: expand.Type, Table: "t", Column: "a", Type: "numeric"}, "constraint t_a_fkey",
		},
	} {
		t.Run(c.want, func(t *testing.T) {
			t.Parallel()
			b := setup(t, schema, "", c.opts)
			defer b.log()
			b.to(2)
			b.backfill()
			for version := 3; ; version++ {
				_, err := b.migrator().To(t.Context(), int32(version))
				var check *pgmigrate.CheckError
				if errors.As(err, &check) && check.Rows[0][0] == c.want {
					return
				}
				if err != nil || version == b.last()-1 {
					t.Fatalf("no check: %v", err)
				}
			}
		})
	}
}
