package diff_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/page-builder/persistence/pgmigrate/dev/diff"
	"github.com/page-builder/persistence/pgmigrate/dev/schema"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

// A schema that was pulled and not edited needs no migration.
func TestPulledIsSame(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"expressions that are read as another form": `
create table orders (id int primary key, status varchar(10) check (status in ('a', 'b')));
create index on orders (id) where status in ('a', 'b');
create view open_orders as select id from orders where status in ('a', 'b');`,
		"a function before its table": `
create table a_table (i int);
create function all_of() returns setof a_table language sql as 'select * from a_table';
create function a_count() returns bigint language sql as 'select count(*) from a_table';`,
		"framing inside a function": `
create function f() returns text language sql as $$ select '
--
-- Name: g; Type: TABLE; Schema: public; Owner: postgres
--

drop table x;
'::text $$;`,
		"an access method": `
create access method heap_too type table handler heap_tableam_handler;
create table t (i int) using heap_too;`,
		"quoted names": `
create function "odd name"("a b" int) returns int language sql as 'select 1';
create type "a type" as enum ('it''s', 'a"b', E'back\\slash');
create table "T 1" ("c 1" "a type" default 'it''s', check ("c 1" <> 'a"b'));`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := fstest.MapFS{"001_a.sql": {Data: []byte(sql)}}
			db, err := shadow.Open(t.Context(), shadow.Options{Migrations: folder})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			var pulled strings.Builder
			if err := schema.Pull(t.Context(), &pulled, db.Config(), schema.Options{}); err != nil {
				t.Fatal(err)
			}
			if name == "an access method" &&
				!strings.Contains(pulled.String(), `default_table_access_method = "heap_too"`) {
				t.Errorf("the access method is lost:\n%s", pulled.String())
			}
			dump := "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\n" + pulled.String() +
				"\n\\unrestrict abc\n\n"
			result, err := diff.Make(t.Context(), folder, dump, "x", diff.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range result.Files {
				t.Errorf("%s:\n%s", f.Name, f.Content)
			}
		})
	}
}
