package expand_test

import (
	"errors"
	"testing"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/internal/expand"
)

// Tables of other shapes come through a change, and back to what they were.
func TestShapes(t *testing.T) {
	t.Parallel()
	rename := expand.Options{Kind: expand.Rename, Table: "t", Column: "a", To: []string{"b"}}
	for name, c := range map[string]struct {
		schema, rows string
		opts         expand.Options
		between      string // while both columns are there, or after the switch of a type
		wrong        string
	}{
		"partitions": {
			"create table t (id int primary key, a text) partition by hash (id); " +
				"create table t0 partition of t for values with (modulus 2, remainder 0); " +
				"create table t1 partition of t for values with (modulus 2, remainder 1)",
			"insert into t select i, 'x' from generate_series(1, 10) i", rename, "update t set b = 'y' where id > 5",
			"select count(*) from t where a is distinct from case when id > 5 then 'y' else 'x' end",
		},
		"primary key": {
			"create table t (a int primary key, x int)", "insert into t select i, i from generate_series(1, 10) i", rename,
			"insert into t (b, x) values (11, 11); update t set b = 12, x = 12 where b = 1", "select count(*) from t where a <> x",
		},
		"deferrable": {
			"create table t (id int primary key, a int unique deferrable initially deferred, exclude (id with =))",
			"insert into t select i, i from generate_series(1, 10) i", rename, "update t set b = 11 - b",
			"select count(*) from t where a <> 11 - id",
		},
		"storage": {
			"create table t (id int primary key, a text); alter table t alter a set statistics 77, alter a set storage external, " +
				"alter a set (n_distinct = 5)", "insert into t values (1, 'x')", rename,
			`do $$ begin if (select format('%s %s %s', attstattarget, attstorage, 'n_distinct=5' = any (attoptions))
  from pg_attribute where attname = 'b' and attrelid = 't'::regclass) <> '77 e t' then raise 'lost'; end if; end $$`,
			"select 0",
		},
		"checks that are not valid": {
			"create table t (id int primary key, a int); insert into t values (1, 1); " +
				"alter table t add constraint positive check (a > 0) not valid", "", rename, "", "select count(*) from t where a <> 1",
		},
		"row security": {
			"create table t (id int primary key, a text); alter table t enable row level security; " +
				"create policy p on t using (id > 0)", "insert into t values (1, 'x')", rename, "", "select count(*) from t where a <> 'x'",
		},
		"dropped columns and types of a split": {
			"create type kind as enum ('x', 'y'); create domain short as varchar(5) check (value <> ''); " +
				"create table t (gone int, id int primary key, gone2 text, a text not null default 'x 1.50 abc'); " +
				"alter table t drop column gone, drop column gone2",
			"insert into t select i, 'y 2.50 def' from generate_series(1, 10) i",
			expand.Options{
				Kind: expand.Split, Table: "t", Column: "a", Back: "k::text || ' ' || n::text || ' ' || s",
				To: []string{
					"k=split_part(a, ' ', 1)::public.kind", `"n"=split_part(a, ' ', 2)::numeric(9, 2)`, "s=split_part(a, ' ', 3)::public.short",
				},
			},
			"update t set n = 1.00 where id = 1; insert into t (id, k, n, s) values (11, 'x', 3, 'q'); insert into t (id) values (12); " +
				"update t set a = 'x 9.00 z' where id = 2",
			"select count(*) from t where a <> case id when 1 then 'y 1.00 def' when 2 then 'x 9.00 z' when 11 then 'x 3.00 q' " +
				"when 12 then 'x 1.50 abc' else 'y 2.50 def' end",
		},
		"text to enum": {
			"create type kind as enum ('x', 'y'); create table t (id int primary key, a text not null default 'x')",
			"insert into t select i, 'y' from generate_series(1, 10) i",
			expand.Options{Kind: expand.Type, Table: "t", Column: "a", Type: "public.kind"},
			"insert into t (id) values (11); insert into t (id, a) values (12, 'y')", "select count(*) from t where a <> case id when 11 then 'x' else 'y' end",
		},
		"explicit casts": {
			"create table t (id int primary key, a bool not null default true)",
			"insert into t select i, i > 5 from generate_series(1, 10) i",
			expand.Options{Kind: expand.Type, Table: "t", Column: "a", Type: "int"},
			"insert into t (id) values (11); insert into t (id, a) values (12, 2); update t set a = 0 where id = 10",
			"select count(*) from t where a <> (id in (6, 7, 8, 9, 11, 12))",
		},
		"an expression": {
			"create table t (id int primary key, a text); create index on t (a)",
			"insert into t select i, i || ' m' from generate_series(1, 10) i",
			expand.Options{
				Kind: expand.Type, Table: "t", Column: "a", Type: "int", Using: "split_part(a, ' ', 1)::int", Back: "a || ' m'",
			},
			"insert into t (id, a) values (11, 11), (12, 12), (13, null)", "select count(*) from t where a <> id || ' m'",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, c.schema, c.rows, c.opts)
			defer b.log()
			was := b.schema()
			b.to(2)
			b.backfill()
			b.to(b.last() - 1)
			if c.between != "" {
				b.exec(c.between)
			}
			b.to(b.last())
			b.to(1)
			b.none("", c.wrong)
			if is := b.schema(); is != was {
				t.Errorf("the schema differs afterwards:\n%s\nwas\n%s", is, was)
			}
		})
	}
}

// Constraints that are not enforced, since PostgreSQL 18, stay so.
func TestNotEnforced(t *testing.T) {
	t.Parallel()
	if ask[int](open(t), "select current_setting('server_version_num')::int") < 180000 {
		t.Skip("they begin with PostgreSQL 18")
	}
	b := setup(t, "create table r (id int primary key); create table t (id int primary key, a int references r not enforced, "+
		"check (a > 0) not enforced)", "insert into t values (1, -1)",
		expand.Options{Kind: expand.Rename, Table: "t", Column: "a", To: []string{"b"}})
	defer b.log()
	was := b.schema()
	b.to(2)
	b.backfill()
	b.to(b.last())
	b.to(1)
	if is := b.schema(); is != was {
		t.Errorf("the schema differs afterwards:\n%s\nwas\n%s", is, was)
	}
}

// A value that the old type cannot hold is written after the switch, and stops the way back.
func TestNoWayBack(t *testing.T) {
	t.Parallel()
	b := setup(t, "create table t (id int primary key, a smallint not null unique check (a > 0))", "insert into t values (1, 1)",
		expand.Options{Kind: expand.Type, Table: "t", Column: "a", Type: "int"})
	defer b.log()
	b.to(2)
	b.backfill()
	b.to(b.last() - 1)
	b.exec("insert into t (id, a) values (2, 70000), (3, 70001)")
	_, err := b.migrator().To(t.Context(), 1)
	var check *pgmigrate.CheckError
	if !errors.As(err, &check) || len(check.Rows) != 2 || check.Rows[0][0] != "2" {
		t.Fatalf("want a check with two rows, got %v", err)
	}
	b.to(b.last())
	b.none("", "select count(*) - 2 from t where a > 60000")
}
