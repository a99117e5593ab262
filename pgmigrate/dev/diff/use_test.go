package diff_test

import (
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgmigrate/dev/diff"
)

// A service runs on the tables while they change. The statements come in an order, and in a form,
// that it survives.
func TestInUse(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		from, to string
		want     []string // in this order in the up sections
		down     []string // in any place in the down sections
		absent   string
	}{
		"a default, a NOT NULL and a check": {
			"create table t (id int primary key, n int);",
			"create table t (id int primary key, n int not null default 0 check (n >= 0));",
			[]string{
				"ALTER COLUMN n SET DEFAULT 0", "EXISTING_ROWS", "CHECK (n IS NOT NULL) NOT VALID",
				"ADD CONSTRAINT t_n_check CHECK ((n >= 0)) NOT VALID", "VALIDATE CONSTRAINT", "ALTER COLUMN n SET NOT NULL",
			},
			[]string{"DROP NOT NULL", "DROP DEFAULT"},
			"",
		},
		"a required column without a default": {
			"create table t (id int primary key);", "create table t (id int primary key, n int not null);",
			[]string{"ADD COLUMN n integer;", "UPDATE public.t SET n", "NOT VALID", "VALIDATE", "SET NOT NULL"},
			[]string{"DROP COLUMN n"},
			"",
		},
		"another primary key": {
			"create table t (id int primary key, n int not null);",
			"create table t (id int not null, n int primary key);",
			[]string{
				"CREATE UNIQUE INDEX CONCURRENTLY t_pkey_new ON public.t USING btree (n)", "DROP CONSTRAINT t_pkey",
				"ADD CONSTRAINT t_pkey PRIMARY KEY USING INDEX t_pkey_new",
			},
			nil,
			"",
		},
		"a changed index": {
			"create table t (id int primary key, n int); create index t_n on t (n);",
			"create table t (id int primary key, n int); create index t_n on t (n, id);",
			[]string{"ALTER INDEX public.t_n RENAME TO t_n_old", "CREATE INDEX CONCURRENTLY t_n", "DROP INDEX CONCURRENTLY public.t_n_old"},
			[]string{"CREATE INDEX CONCURRENTLY t_n_old"},
			"",
		},
		"a dropped column and its index": {
			"create table t (id int primary key, n int); create index t_n on t (n);", "create table t (id int primary key);",
			[]string{"DROP INDEX CONCURRENTLY public.t_n;", "DELETES_DATA", "DROP COLUMN n"},
			[]string{"CREATE INDEX CONCURRENTLY t_n"},
			"",
		},
		"other names": {
			"create table t (id int constraint a primary key, n int constraint b check (n > 0)); create index c on t (n);",
			"create table t (id int constraint x primary key, n int constraint y check (n > 0)); create index z on t (n);",
			[]string{"ALTER INDEX public.c RENAME TO z", "RENAME CONSTRAINT a TO x", "RENAME CONSTRAINT b TO y"},
			[]string{"RENAME CONSTRAINT x TO a"},
			"CREATE",
		},
		"a serial and an identity over rows": {
			"create table t (id serial primary key, n int); insert into t (n) select generate_series(1, 10);",
			"create table t (id int generated always as identity primary key, n int);",
			[]string{"ADD GENERATED ALWAYS AS IDENTITY", "setval('public.t_id_seq', greatest(coalesce(max(id) + 1, 1), 1), false)"},
			[]string{"setval('public.t_id_seq'"},
			"",
		},
		"narrower types under a view": {
			"create table t (id int primary key, n numeric, s text); create view v as select n from t; create view a as select n from v;",
			"create table t (id int primary key, n int, s varchar(3)); create view v as select n from t; create view a as select n from v;",
			[]string{"DROP VIEW public.a", "DROP VIEW public.v", "CORRECTNESS", "TYPE integer", "CORRECTNESS", "TYPE character varying(3)", "CREATE VIEW public.v", "CREATE VIEW public.a"},
			nil,
			"",
		},
		"an enum with fewer values, by a default and a function": {
			`create type m as enum ('a', 'it''s', 'c'); create table t (id int primary key, m m default 'a');
				create function f(m) returns m language sql as 'select $1'; create view v as select f(m) from t;`,
			`create type m as enum ('a', 'it''s'); create table t (id int primary key, m m default 'a');
				create function f(m) returns m language sql as 'select $1'; create view v as select f(m) from t;`,
			[]string{"DROP VIEW public.v", "DROP FUNCTION public.f(public.m)", "RENAME TO m_old", "CREATE TYPE public.m", "USING m::text::public.m", "CREATE VIEW public.v", "DROP TYPE public.m_old"},
			[]string{"ADD VALUE 'c'"},
			"",
		},
		"a materialized view behind a foreign key": {
			"create table u (id int primary key); create table t (id int); create materialized view m as select 1 as a;",
			`create table u (id int primary key); create table t (id int references u);
				create materialized view m as select 2 as a;`,
			[]string{"DROP MATERIALIZED VIEW", "NOT VALID", "VALIDATE CONSTRAINT", "REFRESH MATERIALIZED VIEW public.m"},
			[]string{"SELECT 1; -- nothing to take back"},
			"",
		},
		"an enum's value that a default uses": {
			"create type m as enum ('a'); create table t (id int, m text default 'a');",
			"create type m as enum ('a', 'b'); create table t (id int, m m default 'b');",
			[]string{"ADD VALUE 'b'", "SET DEFAULT 'b'::public.m"},
			[]string{"SET DEFAULT 'a'::text"},
			"",
		},
		"an enum's value that the way back uses": {
			"create type m as enum ('a', 'b'); create table t (id int, m m default 'b');",
			"create type m as enum ('a'); create table t (id int, m text default 'a');",
			[]string{"SET DEFAULT 'a'::text"},
			[]string{"disable-tx", "ADD VALUE 'b'", "SET DEFAULT 'b'::public.m"},
			"",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result, err := diff.Make(t.Context(), after(test.from), test.to, "use", diff.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var ups, downs strings.Builder
			for _, f := range result.Files {
				up, down, ok := strings.Cut(f.Content, "\n---- create above / drop below ----\n")
				if !ok {
					t.Errorf("no way back:\n%s", f.Content)
				}
				ups.WriteString(up)
				downs.WriteString(down)
			}
			rest := ups.String()
			for _, want := range test.want {
				_, after, ok := strings.Cut(rest, want)
				if !ok {
					t.Fatalf("no %s, or not in this order, in\n%s", want, &ups)
				}
				rest = after
			}
			for _, want := range test.down {
				if !strings.Contains(downs.String(), want) {
					t.Errorf("no %s in\n%s", want, &downs)
				}
			}
			if test.absent != "" && strings.Contains(ups.String(), test.absent) {
				t.Errorf("%s in\n%s", test.absent, &ups)
			}
		})
	}
}
