package dev_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

// together is one change of each kind that only the dump shows, on testdata/base.sql. The corpus
// has them one by one.
const together = `
alter domain email drop constraint email_has_at;
alter domain email add constraint email_has_dot check (value like '%.%');
alter domain email set default 'nobody@example.com';
alter domain email set not null;
alter type pair drop attribute b;
alter type pair alter attribute a type bigint;
alter type pair add attribute c numeric;
create type size as (width integer, height integer);
create schema shop;
create domain shop.price as numeric(10,2) check (value >= 0);
create table shop.items (id int primary key, price shop.price not null);
alter table tags add constraint tags_distinct exclude using btree (label with =);
grant insert, update on authors to corpus_reader;
revoke select on pages from corpus_reader;
alter default privileges in schema audit grant select on tables to corpus_reader;
alter table tags owner to corpus_reader;
alter table pages set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);
alter table pages alter column title set statistics 500;
alter table pages alter column title set (n_distinct = 100, n_distinct_inherited = 50);
alter table pages alter column body set compression pglz;
alter table pages disable trigger pages_touch;
alter table pages cluster on pages_title;
alter table scratch set logged;
drop aggregate total(integer);
create aggregate total(integer) (sfunc = int4pl, stype = integer, initcond = '1');
drop rule keep_authors on authors;
create rule keep_tags as on delete to tags where old.weight > 10 do instead nothing;
drop statistics pages_stats;
create statistics tags_stats (dependencies) on page_id, weight from tags;
create publication news for table pages, tags;
create operator public.=== (leftarg = integer, rightarg = integer, function = int4eq);
create operator public.!!! (rightarg = integer, function = int4um);
create function to_color(integer) returns color language sql immutable as $$ select 'red'::color $$;
create cast (integer as color) with function to_color(integer);
create text search configuration simple_pages (copy = simple);
comment on table pages is 'other';
comment on column pages.slug is null;
comment on column pages.title is 'shown at the top';
comment on table scratch is 'one more';
create trigger tags_touch before insert on tags for each row execute function touch();
comment on trigger tags_touch on tags is 'goes with its trigger';
comment on table shop.items is 'goes with its table';
comment on column shop.items.price is 'goes with its table';
grant select on shop.items to corpus_reader;
`

// partitions are changes of a partitioned table.
const partitions = `
alter table audit.entries detach partition audit.entries_2026;
create table audit.entries_2027 partition of audit.entries for values from ('2027-01-01') to ('2028-01-01');
`

// Many changes at once are found, and undone and made again by the statements that are found, in an
// order in which they run.
func TestTogether(t *testing.T) {
	t.Parallel()
	b := setup(t)
	changed, partitioned := b.copy(t), b.copy(t)
	if err := errors.Join(run(t, changed, pgmigrate.Statements(together)...),
		run(t, partitioned, pgmigrate.Statements(partitions)...)); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		from, to *shadow.DB // from is copied, so no session may connect to it
		want     []string
	}{
		"undone": {changed, b.base, []string{
			`ALTER DOMAIN public.email DROP CONSTRAINT email_has_dot`,
			`ALTER DOMAIN public.email DROP DEFAULT`,
			`ALTER DOMAIN public.email DROP NOT NULL`,
			`ALTER TYPE public.pair DROP ATTRIBUTE c`,
			`ALTER TYPE public.pair ADD ATTRIBUTE b text`,
			`DROP TYPE public.size`,
			`DROP DOMAIN shop.price`,
			`ALTER TABLE public.tags OWNER TO CURRENT_ROLE`,
			`ALTER TABLE ONLY public.tags DROP CONSTRAINT tags_distinct`,
			`ALTER TABLE public.pages RESET (fillfactor)`,
			`ALTER TABLE ONLY public.pages ALTER COLUMN title SET STATISTICS -1`,
			`ALTER TABLE ONLY public.pages ALTER COLUMN title RESET (n_distinct, n_distinct_inherited)`,
			`ALTER TABLE ONLY public.pages ALTER COLUMN body SET COMPRESSION default`,
			`ALTER TABLE public.pages ENABLE TRIGGER pages_touch`,
			`ALTER TABLE public.pages SET WITHOUT CLUSTER`,
			`ALTER TABLE public.scratch SET UNLOGGED`,
			`DROP RULE keep_tags ON public.tags`,
			`DROP AGGREGATE public.total(integer)`,
			`DROP STATISTICS public.tags_stats`,
			`DROP PUBLICATION news`,
			`DROP OPERATOR public.=== (integer, integer)`,
			`DROP OPERATOR public.!!! (NONE, integer)`,
			`DROP CAST (integer AS public.color)`,
			`DROP TEXT SEARCH CONFIGURATION public.simple_pages`,
			`COMMENT ON TABLE public.scratch IS NULL`,
			`REVOKE INSERT,UPDATE ON TABLE public.authors FROM corpus_reader`,
			`ALTER DEFAULT PRIVILEGES FOR ROLE CURRENT_ROLE IN SCHEMA audit REVOKE SELECT ON TABLES ` +
				`FROM corpus_reader`,
		}},
		"made again": {b.base, changed, []string{
			`ALTER DOMAIN public.email DROP CONSTRAINT email_has_at`,
			`ALTER DOMAIN public.email SET DEFAULT 'nobody@example.com'::text`,
			`ALTER DOMAIN public.email SET NOT NULL`,
			`ALTER TYPE public.pair DROP ATTRIBUTE b`,
			`ALTER TYPE public.pair ALTER ATTRIBUTE a TYPE bigint`,
			`ALTER TABLE public.scratch SET LOGGED`,
			`ALTER TABLE public.tags OWNER TO "corpus_reader"`,
			`REVOKE SELECT ON TABLE public.pages FROM corpus_reader`,
			`COMMENT ON COLUMN public.pages.slug IS NULL`,
		}},
		"partitions undone": {partitioned, b.base, []string{
			`DROP TABLE audit.entries_2027`,
			`ALTER TABLE ONLY audit.entries ATTACH PARTITION audit.entries_2026 FOR VALUES ` +
				`FROM ('2026-01-01 00:00:00+00') TO ('2027-01-01 00:00:00+00')`,
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := test.from.Clone(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			for round := 1; ; round++ {
				d := compare(t, db, test.to)
				if d.Empty() {
					break
				}
				plan := d.Plan()
				if len(plan.Unexpressed) > 0 || len(plan.Statements) == 0 || round == 4 {
					t.Fatalf("round %d: no statement for %v", round, plan.Unexpressed)
				}
				var sql []string
				for _, s := range plan.Statements {
					// Older versions of pg_dump write two blanks.
					sql = append(sql, strings.ReplaceAll(s.SQL, "TABLES  FROM", "TABLES FROM"))
				}
				for _, want := range test.want {
					if round == 1 && !slices.Contains(sql, want) {
						t.Errorf("no %s in\n%s", want, strings.Join(sql, ";\n"))
					}
				}
				if err := run(t, db, sql...); err != nil {
					t.Fatalf("%v in\n%s", err, strings.Join(sql, ";\n"))
				}
			}
		})
	}
}
