package schema_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate/dev/schema"
)

// The statements turn either schema of a pair into the other one, and run in their order.
func TestPairs(t *testing.T) {
	t.Parallel()
	const role = "do $$ begin create role pairs_reader; exception when duplicate_object then null; end $$;"
	tests := map[string][2]string{
		"grants on a table and on its columns": {
			role + `create table t (a int, "b c" int); grant select on t to pairs_reader;
				grant update (a, "b c") on t to pairs_reader;`,
			role + `create table t (a int, "b c" int);`,
		},
		"a check and a new partition below two levels": {
			`create table m (id int not null, at date not null) partition by range (at);
				create table m1 partition of m for values from ('2024-01-01') to ('2025-01-01') partition by list (id);
				create table m1a partition of m1 for values in (1); create index m_id on m (id);`,
			`create table m (id int not null, at date not null, w int not null check (w > 0)) partition by range (at);
				create table m1 partition of m for values from ('2024-01-01') to ('2025-01-01') partition by list (id);
				create table m1a partition of m1 for values in (1); create table m1b partition of m1 default;
				create index m_id on m (id, w);`,
		},
		"a partition that becomes a table": {
			`create table m (id int, at date not null, check (id > 0)) partition by range (at);
				create table m1 partition of m for values from ('2024-01-01') to ('2025-01-01');
				create index m_id on m (id);`,
			`create table m (id int, at date not null) partition by range (at);
				create table m1 (id int, at date not null);
				create index m_id on m (id, at);`,
		},
		"a table that becomes a child": {
			"create table p (a int, check (a > 0)); create table c (b int);",
			"create table p (a int, check (a > 0)); create table c (b int) inherits (p);",
		},
		"a table that becomes a partition": {
			"create table p1 (id int not null, at date not null);",
			`create table p (id int not null check (id > 0), at date not null, primary key (id, at))
					partition by range (at);
				create table p1 partition of p for values from ('2024-01-01') to ('2025-01-01');`,
		},
		"a partition's trigger that is off": {
			`create table m (id int) partition by list (id); create table m1 partition of m for values in (1);
				create function f() returns trigger language plpgsql as 'begin return new; end';
				create trigger tr after insert on m for each row execute function f();`,
			`create table m (id int) partition by list (id); create table m1 partition of m for values in (1);
				create function f() returns trigger language plpgsql as 'begin return new; end';
				create trigger tr after update on m for each row execute function f();
				alter table m1 disable trigger tr;`,
		},
		"an extension that is in use until the end": {
			"create extension citext; create table t (a citext primary key, b citext);",
			"create table t (a text primary key);",
		},
		"unique constraints that swap their names": {
			"create table a (x int, constraint ua unique (x)); create table b (x int, constraint ub unique (x));",
			"create table a (x int, constraint ub unique (x)); create table b (x int, constraint ua unique (x));",
		},
		"a trigger's function that goes with a view and a table": {
			`create table a (id int primary key); create table b (id int references a);
				create view v as select a.id from a join b using (id);
				create function f() returns setof v language sql as 'select * from v';
				create view w as select * from f();
				create function tf() returns trigger language plpgsql as 'begin return new; end';
				create trigger tr before insert on b for each row execute function tf(); create table c (a a, z int);`,
			"create table c (z int);",
		},
		"two long names that begin alike": {
			"create table t (" + strings.Repeat("a", 60) + "1 int, " + strings.Repeat("a", 60) + "2 int);",
			"create table t (" + strings.Repeat("a", 60) + "1 int not null, " + strings.Repeat("a", 60) + "2 int not null);",
		},
		"storage": {
			"create table t (a text, b text); alter table t alter a set storage external, alter b set storage main;",
			"create table t (a text, b text);",
		},
		"a range type that no column has": {
			"create type r as range (subtype = float8); create function f(r) returns int language sql as 'select 1';",
			`create type r as range (subtype = float8, subtype_diff = float8mi);
				create function f(r) returns int language sql as 'select 1';`,
		},
	}
	for name, pair := range tests {
		for way, names := range map[string][2]int{"there": {0, 1}, "back": {1, 0}} {
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Parallel()
				from, to := database(t, pair[names[0]]), database(t, pair[names[1]])
				plan := planOf(t, from, to)
				for _, s := range plan.Statements {
					run(t, from, s.SQL)
				}
				if rest := planOf(t, from, to); len(rest.Statements)+len(rest.Unexpressed) > 0 {
					t.Errorf("%v\nleave %v\n%v", plan.Statements, rest.Statements, rest.Unexpressed)
				}
			})
		}
	}
}

// The plan leaves alone, and names, what PostgreSQL cannot drop because it is in use.
func TestInUseStays(t *testing.T) {
	t.Parallel()
	const collation = "create collation c (provider = icu, locale = '%s', deterministic = false); create table t (a text collate c);"
	tests := map[string]struct{ from, to, want string }{
		"a collation": {
			strings.Replace(collation, "%s", "und-u-ks-level1", 1), strings.Replace(collation, "%s", "und-u-ks-level2", 1),
			"change collation c: it is in use, so it cannot be dropped and created again",
		},
		"a range type": {
			"create type r as range (subtype = float8); create table t (a r);",
			"create type r as range (subtype = float8, subtype_diff = float8mi); create table t (a r);",
			"change type r: a range type that has columns cannot be dropped and created again",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan := planOf(t, database(t, test.from), database(t, test.to))
			if len(plan.Statements) > 0 || len(plan.Unexpressed) != 1 || plan.Unexpressed[0].String() != test.want {
				t.Errorf("%v, %v", plan.Statements, plan.Unexpressed)
			}
		})
	}
}

// A value that the new type cuts, and a sequence's number, are lost with a warning.
func TestLoss(t *testing.T) {
	t.Parallel()
	from := database(t, "create table t (n int, s text); create sequence numbers;")
	to := database(t, "create table t (n varchar(3), s name);")
	want := map[string]string{
		"ALTER TABLE public.t ALTER COLUMN n TYPE character varying(3)": "CORRECTNESS",
		"ALTER TABLE public.t ALTER COLUMN s TYPE name":                 "CORRECTNESS",
		"DROP SEQUENCE public.numbers":                                  "DELETES_DATA",
	}
	for _, s := range planOf(t, from, to).Statements {
		for _, h := range s.Hazards {
			if h.Type == want[s.SQL] {
				delete(want, s.SQL)
			}
		}
	}
	for sql, hazard := range want {
		t.Errorf("no %s at %s", hazard, sql)
	}
}

func planOf(t *testing.T, from, to schema.Database) schema.Plan {
	t.Helper()
	d, err := schema.Compare(t.Context(), from, to, schema.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d.Plan()
}

func run(t *testing.T, db schema.Database, sql string) {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), db.Config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
