package backfill_test

import (
	"context"
	"testing"

	"github.com/page-builder/persistence/pgmigrate/backfill"
)

// Each kind of unique index is an order in which every row is met once, also where the settings of
// the role change the text of a value.
func TestKeys(t *testing.T) {
	t.Parallel()
	b := setup(t, "do $$ begin execute format('alter database %I set datestyle = ''SQL, DMY''', current_database()); "+
		"execute format('alter database %I set extra_float_digits = 0', current_database()); "+
		"execute format('alter database %I set intervalstyle = sql_standard', current_database()); "+
		"execute format('alter database %I set bytea_output = escape', current_database()); "+
		"execute format('alter database %I set default_transaction_isolation = serializable', current_database()); end $$")
	const (
		fill = " from generate_series(1, 500) i"
		many = " from generate_series(1, 10000) i" // two ranges
	)
	for name, c := range map[string]struct{ create, key, where string }{
		"bigint":     {"(id int8 primary key, n int default 0); insert into rows select i" + fill, "id", ""},
		"negative":   {"(id int8 primary key, n int default 0); insert into rows select i - 1000" + fill, "id", ""},
		"uuid":       {"(id uuid primary key, n int default 0); insert into rows select gen_random_uuid()" + many, "id", ""},
		"descending": {"(id int not null, n int default 0); create unique index on rows (id desc); insert into rows select i" + fill, "id", ""},
		"composite": {
			"(a int, b text, n int default 0, primary key (a, b)); insert into rows select i % 7, md5(i::text)" + many,
			"a,b", "(a, b) between ($1, $2) and ($3, $4)",
		},
		"composite uuid": {
			"(a uuid, b int, n int default 0, primary key (a, b)); " +
				"insert into rows select md5((i % 3)::text)::uuid, i" + fill,
			"a, b", "(a, b) between ($1, $2) and ($3, $4)",
		},
		"text": {
			`(id text collate "C" primary key, n int default 0); ` +
				`insert into rows select chr(i + 32) || E'\\ "quoted'',{}'` + fill, "id", "",
		},
		"text of a language": {
			`(id text collate "en-x-icu" primary key, n int default 0); insert into rows ` +
				"select (array['a', 'A', 'ä', '-a', ' a'])[1 + i % 5] || i" + many, "id", "",
		},
		"limits": {
			"(id int8 primary key, n int default 0); insert into rows select i - 5000" + many +
				"; update rows set id = case when id > 0 then 9223372036854775807 else -9223372036854775807 end " +
				"where abs(id) = 4999; " +
				"insert into rows values (-9223372036854775808)", "id", "",
		},
		"limits of floats": {
			"(id float8 primary key, n int default 0); insert into rows select i / 3.0" + fill +
				"; insert into rows values ('-infinity'), ('infinity'), ('nan'), ('-0'), (5e-324)", "id", "",
		},
		"empty text": {"(id text primary key, n int default 0); insert into rows select repeat('x', i) from generate_series(0, 500) i", "id", ""},
		"bytea":      {"(id bytea primary key, n int default 0); insert into rows select decode(md5(i::text), 'hex')" + fill, "id", ""},
		"timestamptz": {
			"(id timestamptz primary key, n int default 0); " +
				"insert into rows select '2024-01-02 03:04:05.678901+05'::timestamptz + i * interval '7 hours'" + fill, "id", "",
		},
		"date":    {"(id date primary key, n int default 0); insert into rows select date '2024-01-01' + i" + fill, "id", ""},
		"float":   {"(id float8 primary key, n int default 0); insert into rows select 1 / i::float8" + fill, "id", ""},
		"numeric": {"(id numeric primary key, n int default 0); insert into rows select i / 7.0" + fill, "id", ""},
		"interval": {
			"(id interval primary key, n int default 0); insert into rows select make_interval(months => i, secs => i)" + fill,
			"id", "",
		},
		"domain": {
			"(id text); drop table rows; create domain positive as int check (value > 0); create table rows (id positive " +
				"primary key, n int default 0); insert into rows select i" + fill, "id", "",
		},
		"char": {"(id char(6) primary key, n int default 0); insert into rows select i" + fill, "id", ""},
		"inet": {"(id inet primary key, n int default 0); insert into rows select inet '10.0.0.0/8' + i" + fill, "id", ""},
		"array": {
			"(id text[] primary key, n int default 0); insert into rows select array[i::text, E'\\\" ,}', null]" + fill, "id", "",
		},
		"enum": {
			"(id text); drop table rows; create type kind as enum ('z', 'a', 'm'); create table rows (k kind, id int, " +
				"n int default 0, primary key (k, id)); insert into rows select (array['z', 'a', 'm'])[1 + i % 3]::kind, i" + fill,
			"k,id", "(k, id) between ($1, $2) and ($3, $4)",
		},
		"partitioned": {
			"(a int, b int, n int default 0, primary key (a, b)) partition by list (a); " +
				"create table rows1 partition of rows for values in (1); create table rows2 partition of rows default; " +
				"insert into rows select i % 4, i" + fill, "a,b", "(a, b) between ($1, $2) and ($3, $4)",
		},
		"other order than the columns": {
			"(a int not null, b int not null, n int default 0, unique (b, a)); insert into rows select i, i % 9" + fill,
			"b,a", "(b, a) between ($1, $2) and ($3, $4)",
		},
		"quoted": {
			`("Key, of""" int primary key, n int default 0); insert into rows select i` + fill, `"Key, of"""`,
			`"Key, of""" between $1 and $2`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := b.fresh(t, "create table rows "+c.create, "analyze rows")
			if c.where == "" {
				c.where = c.key + " between $1 and $2"
			}
			r := b.runner(backfill.Options{}, "count", "-- pgmigrate:backfill table=public.rows key="+c.key+
				"\nupdate rows set n = n + 1 where "+c.where)
			b.run(r, "count")
			rows := ask[int](b, "select count(*) from rows")
			b.wantOnce(rows)
			s := status(t, r)
			if s.State != backfill.StateDone || s.Rows != int64(rows) || s.Total != s.Rows || s.Batches < 2 {
				t.Errorf("%+v", s)
			}
			if n := ask[int](b, "select count(*) from pgmigrate.backfill_range"); n != max(1, rows/5000) {
				t.Errorf("%d ranges", n)
			}
		})
	}
}

// fresh returns b for a subtest, without tables.
func (b *bench) fresh(t *testing.T, sqls ...string) *bench {
	t.Helper()
	b = &bench{t, b.config, b.conn}
	b.exec(append([]string{"drop schema if exists pgmigrate cascade; drop schema public cascade; create schema public"},
		sqls...)...)
	return b
}

// What would leave rows out is refused before a row is touched.
func TestKeyRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, c := range map[string]struct{ create, key, want string }{
		"nullable":        {"(id int unique)", "id", "not null"},
		"not unique":      {"(id int not null); create index on rows (id)", "id", "unique index"},
		"partial":         {"(id int not null); create unique index on rows (id) where id > 0", "id", "unique index"},
		"expression":      {"(id text not null); create unique index on rows (lower(id))", "id", "unique index"},
		"part":            {"(id int, b int, primary key (id, b))", "id", "unique index"},
		"order":           {"(id int, b int, primary key (b, id))", "id,b", "unique index"},
		"directions":      {"(id int not null, b int not null); create unique index on rows (id, b desc)", "id,b", "ascending"},
		"collation":       {`(id text not null); create unique index on rows (id collate "C")`, "id", "unique index"},
		"other operators": {"(id text not null); create unique index on rows (id text_pattern_ops)", "id", "unique index"},
		"no column":       {"(id int primary key)", "nope", "lacks a column"},
		"inherited":       {"(id int primary key); create table child () inherits (rows)", "id", "inheritance"},
		"view":            {"(id int primary key); alter table rows rename to r; create view rows as select * from r", "id", "no table"},
		"no table":        {"(id int); drop table rows", "id", "no table"},
	} {
		t.Run(name, func(t *testing.T) {
			b := b.fresh(t, "create table rows "+c.create)
			where := "$1 is not null and $2 is not null and $3 is not null and $4 is not null"
			if c.key != "id,b" {
				where = "$1 is not null and $2 is not null"
			}
			r := b.runner(backfill.Options{}, "count", "-- pgmigrate:backfill table=public.rows key="+c.key+
				"\ndelete from rows where "+where)
			contains(t, r.Run(t.Context(), "count"), c.want)
			if s := status(t, r); s.State != backfill.StatePending {
				t.Errorf("state %s", s.State)
			}
		})
	}
}

// A policy that hides rows from the role would leave them out without a word.
func TestRowSecurity(t *testing.T) {
	t.Parallel()
	b := setup(t, counted, "create policy half on rows using (id % 2 = 0)", "alter table rows enable row level security")
	role := ask[string](b, "select 'limited_' || oid from pg_database where datname = current_database()")
	b.exec("create role "+role+" login", "grant all on rows to "+role, "create schema pgmigrate authorization "+role,
		"grant create on schema public to "+role)
	t.Cleanup(func() { // if it fails the role stays, which harms nobody
		b.conn.Exec(context.WithoutCancel(t.Context()), "drop owned by "+role+"; drop role "+role)
	})
	limited := *b
	limited.config = b.config.Copy()
	limited.config.User = role
	err := limited.runner(backfill.Options{}, "count", count).Run(t.Context(), "count")
	if err == nil {
		t.Errorf("no error, and %d of 2000 rows", ask[int](b, "select count(*) from rows where n = 1"))
	}
	contains(t, err, "row-level security")
}
