package drift_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/dev/drift"
)

// applied returns a database with the migration applied by pgmigrate, and the folder.
func applied(t *testing.T, sql string) (live *pgx.ConnConfig, folder fstest.MapFS) {
	t.Helper()
	folder = fstest.MapFS{"001_a.sql": {Data: []byte(sql)}}
	return migratedFrom(t, folder, 1, ""), folder
}

func exec(t *testing.T, cfg *pgx.ConnConfig, sql string) {
	t.Helper()
	if _, err := connect(t, cfg).PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

// What PostgreSQL prints it may read as another form. A database that was restored from its dump
// has that other form, and nothing else differs.
func TestRestoredFormIsNoDrift(t *testing.T) {
	t.Parallel()
	live, folder := applied(
		t,
		`create table orders (id int primary key, status varchar(10) check (status in ('a', 'b')));
create index orders_open on orders (id) where status in ('a', 'b');
create view open_orders as select id from orders where status in ('a', 'b');`,
	)
	exec(t, live, `alter table orders drop constraint orders_status_check;
alter table orders add constraint orders_status_check
	check (((status)::text = any (array[('a'::character varying)::text, ('b'::character varying)::text])));
drop index orders_open;
create index orders_open on orders (id)
	where ((status)::text = any (array[('a'::character varying)::text, ('b'::character varying)::text]));`)
	notDrifted(t, live, folder, drift.Options{})
	exec(t, live, `alter table orders drop constraint orders_status_check;
alter table orders add constraint orders_status_check check (status in ('a', 'c'));`)
	r, err := drift.Check(t.Context(), live, folder, drift.Options{})
	if err != nil || len(r.Difference.Objects) != 1 {
		t.Errorf("a changed check: %v, %v", r.Difference.Objects, err)
	}
}

func TestUnchangedIsNoDrift(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"a check that calls a function": `create function okn(i int) returns boolean
				language sql immutable as 'select i > 0';
create table t (i int check (okn(i)));`,
		"quoted names": `create function "odd name"("a b" int) returns int language sql as 'select 1';
create type "a type" as enum ('it''s', 'a"b', E'back\\slash'); create table "T 1" ("c 1" "a type");`,
		"framing inside a function": `create function f() returns text language sql as $$ select '
--
-- Name: g; Type: TABLE; Schema: public; Owner: postgres
--

drop table x;
'::text $$; create table t (i int);`,
		"functions before tables": `create table t (i int); create function a() returns setof t language sql as 'select * from t';`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			live, folder := applied(t, sql)
			notDrifted(t, live, folder, drift.Options{})
		})
	}
}

// The SQL of the report brings the database back, whatever the names are.
func TestBringsBack(t *testing.T) {
	t.Parallel()
	const base = `create table t (i int); create type mood as enum ('good', 'it''s');`
	for name, c := range map[string]struct{ base, by string }{
		"a quoted function":        {base, `create function "odd name"(int) returns int language sql as 'select 1';`},
		"a new enum":               {base, `create type evil as enum ('x'') , (''y', 'z'); create table u (e evil);`},
		"an enum that is gone":     {base + `create type gone as enum ('a''b'); create table u (g gone);`, `drop table u; drop type gone;`},
		"a policy to a role":       {base, `create policy p on t to current_user using (i > 0);`},
		"a function with framing":  {base, "create function f() returns text language sql as $$ select '\n--\n-- Name: t; Type: TABLE; Schema: public; Owner: x\n--\n'::text $$;"},
		"a serial column":          {base, `alter table t add column n serial;`},
		"a serial column is gone":  {base + `create table s (n serial, i int);`, `alter table s drop column n;`},
		"a table with a serial":    {base, `create table s (n serial primary key);`},
		"a serial table is gone":   {base + `create table s (n serial primary key);`, `drop table s;`},
		"views on views":           {base, `create view z as select i from t; create view a as select i from z; create view m as select * from a;`},
		"views on views are gone":  {base + `create view z as select i from t; create view a as select i from z;`, `drop view z cascade;`},
		"a default's function":     {base, `create function d() returns int language sql as 'select 1'; alter table t alter column i set default d();`},
		"a domain with a function": {base, `create function ok(i int) returns boolean language sql immutable as 'select true'; create domain d as int check (ok(value)); create table u (d d);`},
		"a sequence's options":     {base + `create sequence s;`, `alter sequence s increment 5 cache 10;`},
		"a function's result": {
			`create function f(a int) returns int language sql as 'select 1'; comment on function f(int) is 'one';
				create view v as select f(1); create view w as select * from v;`,
			`drop view v cascade; drop function f(int);
				create function f(b int) returns text language sql as $$ select 'x' $$;
				comment on function f(int) is 'one'; create view v as select f(1); create view w as select * from v;`,
		},
		"a materialized view under views": {
			base + `create materialized view m as select i from t; create unique index m_i on m (i);
				create view v as select i from m; comment on view v is 'v';`,
			`drop materialized view m cascade; create materialized view m as select i, 1 as j from t;
				create unique index m_i on m (i); create view v as select i from m; comment on view v is 'v';`,
		},
		"an identity that was a serial": {
			`create table s (n serial primary key);`,
			`alter table s alter n drop default; drop sequence s_n_seq;
				alter table s alter n add generated always as identity;`,
		},
		"a serial that was an identity": {
			`create table s (n int generated always as identity primary key);`,
			`alter table s alter n drop identity; create sequence s_n_seq as int owned by s.n;
				alter table s alter n set default nextval('s_n_seq');`,
		},
		"comments beside a dropped column": {
			base, `alter table t add "j k" int; comment on table t is 'x'; comment on column t.i is 'y';
				comment on column t."j k" is 'z';`,
		},
		"functions that are gone": {
			`create function b() returns int language sql as 'select 1';
				create function a() returns int language sql as 'select b()';
				create domain d as int check (value > b()); create table n (i d);
				create function c(n) returns int language sql as 'select 1';`,
			`drop table n cascade; drop domain d; drop function b(); drop function a();`,
		},
		"a type under a default": {
			`create table x (c text default 'good');`,
			`alter table x alter c drop default; create type m as enum ('good');
				alter table x alter c type m using 'good'; alter table x alter c set default 'good';`,
		},
		"odd names": {
			`create schema "my schema"; create table "my schema"."T 1 🙂" ("c '1" int, "ü" text);
				create view "my schema"."v ""1""" as select "ü" from "my schema"."T 1 🙂";`,
			`comment on table "my schema"."T 1 🙂" is 'it''s'; drop view "my schema"."v ""1""";
				create index "i 1" on "my schema"."T 1 🙂" ("ü");
				alter table "my schema"."T 1 🙂" add constraint "k 1" check ("c '1" > 0),
					add column "new 1" int generated always as ("c '1" * 2) stored;
				create policy "p 1" on "my schema"."T 1 🙂" using ("ü" = 'x');
				create trigger "t 1" before update on "my schema"."T 1 🙂"
				for each row execute function suppress_redundant_updates_trigger();`,
		},
		"a range and domains": {
			`create domain d1 as int check (value > 0); create domain d2 as d1 not null;
				create type r as range (subtype = float8); create table x (a d2, b r);`,
			`drop table x; drop domain d2; drop type r; alter domain d1 add constraint less check (value < 10);
				create table x (a d1);`,
		},
		"partitions of partitions": {
			`create table p (a int, b int, primary key (a, b)) partition by list (a);
				create table p1 partition of p for values in (1) partition by range (b);
				create table p11 partition of p1 for values from (0) to (10); create index p_b on p (b);`,
			`create table p12 partition of p1 for values from (10) to (20);`,
		},
		"a comment beside another change": {
			base + `comment on table t is 'a';`, `comment on table t is null; alter table t add column j int;`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			live, folder := applied(t, c.base)
			exec(t, live, c.by)
			r, err := drift.Check(t.Context(), live, folder, drift.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if !r.Drifted() || len(r.Plan.Unexpressed) > 0 {
				t.Fatalf("drifted %v, unexpressed %v", r.Drifted(), r.Plan.Unexpressed)
			}
			conn := connect(t, live)
			for _, s := range r.Plan.Statements {
				if _, err := conn.PgConn().Exec(t.Context(), s.SQL).ReadAll(); err != nil {
					t.Fatalf("%s: %v", s.SQL, err)
				}
			}
			notDrifted(t, live, folder, drift.Options{})
		})
	}
}

// Two folders share a database. The drift of one proposes to drop nothing of the other's.
func TestTwoFolders(t *testing.T) {
	t.Parallel()
	live, folder := applied(t, "create table t (i int);")
	other, err := pgmigrate.New(
		live,
		fstest.MapFS{
			"001_a.sql": {Data: []byte("create schema theirs; create table theirs.a (i int); create table b (i int);")},
		},
		pgmigrate.WithLogger(
			nil,
		),
		pgmigrate.WithVersionTable("public.their_version"),
		pgmigrate.WithHistorySchema("their_history"),
	)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	notDrifted(t, live, folder, drift.Options{IgnoreSchemas: []string{"theirs"}, IgnoreTables: []string{"b"}})
	r, err := drift.Check(t.Context(), live, folder, drift.Options{})
	if err != nil || !r.Drifted() || !strings.Contains(strings.Join(r.Notes, "\n"), "public.their_version") {
		t.Errorf("drifted %v, notes %q, %v", r.Drifted(), r.Notes, err)
	}
}

func notDrifted(t *testing.T, live *pgx.ConnConfig, folder fstest.MapFS, opts drift.Options) {
	t.Helper()
	r, err := drift.Check(t.Context(), live, folder, opts)
	if err != nil {
		t.Fatal(err)
	}
	if r.Drifted() {
		t.Errorf("drifted: %v", r.Difference.Objects)
	}
}
