package lint_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/page-builder/persistence/pgmigrate/dev/lint"
)

func TestBackfills(t *testing.T) {
	t.Parallel()
	const (
		base = "create table public.rows (id bigint primary key, a text, c int); create table other (id bigint primary key, b text);"
		copy = "-- pgmigrate:backfill table=public.rows key=id\nupdate public.rows r set b = a where id between $1 and $2;"
		add  = "alter table rows add column b text;"
		gate = "-- pgmigrate:requires-backfill rows_b\n"
		sync = `create function sync() returns trigger language plpgsql as $$ begin
  new.b := new.a; -- new.a goes
  return new; end $$;
create trigger sync before insert or update on rows for each row execute function sync();`
		allow   = "-- pgmigrate:allow drop-column x\n"
		notNull = "alter table rows add constraint p check (b is not null) not valid;"
		valid   = "alter table rows validate constraint p;"
		set     = "alter table rows alter column b set not null;"

		notNullC = "alter table rows add constraint q check (c is not null) not valid;"
		validC   = "alter table rows validate constraint q;"
		setC     = "alter table rows alter column c set not null;"
	)
	for name, c := range map[string]struct {
		up   []string
		want []string
	}{
		"whole":               {[]string{add + sync, gate + notNull, valid, set, "drop trigger sync on rows;\n" + allow + "alter table rows drop column a;"}, nil},
		"not null, no gate":   {[]string{add, notNull, valid, set}, []string{"2 backfill-unused", "5 backfill-gate"}},
		"drop, no gate":       {[]string{add, allow + "alter table rows drop column a;"}, []string{"2 backfill-unused", "3 backfill-gate"}},
		"gate in the same":    {[]string{add, gate + allow + "alter table rows drop column a;"}, nil},
		"gate too late":       {[]string{add, allow + "alter table rows drop column a;", gate + "select 1;"}, []string{"3 backfill-gate"}},
		"other column":        {[]string{add, allow + "alter table rows drop column c;", gate + "select 1;"}, nil},
		"other table":         {[]string{add, gate + "select 1;", allow + "alter table other drop column b;"}, nil},
		"filled again later":  {[]string{add, notNull, valid, set, gate + "select 1;"}, nil},
		"nothing fills it":    {[]string{add + gate + "select 1;", notNullC, validC, setC}, []string{"5 not-null-unfilled"}},
		"checked":             {[]string{add + gate + "select 1;", notNullC, "-- pgmigrate:check none\nselect 1 from rows where c is null;\n" + validC, setC}, nil},
		"filled here":         {[]string{add + gate + "select 1;", notNullC, validC, "update rows set c = 1 where c is null;" + setC}, nil},
		"has a default":       {[]string{add + gate + "select 1;", notNullC + "alter table rows alter c set default 1;", validC, setC}, nil},
		"no file":             {[]string{"-- pgmigrate:requires-backfill rows_c\nselect 1;"}, []string{"2 backfill-missing"}},
		"trigger left":        {[]string{add + sync, gate + allow + "alter table rows drop column a;"}, []string{"3 trigger-left"}},
		"trigger of a rename": {[]string{add + sync, gate + "-- pgmigrate:allow rename-column x\nalter table rows rename column a to z;"}, []string{"3 trigger-left"}},
		"trigger disabled":    {[]string{add + sync, gate + "-- pgmigrate:allow disabled-trigger x\nalter table rows disable trigger sync;\n" + allow + "alter table rows drop column a;"}, nil},
		"allowed":             {[]string{add + sync, gate + "-- pgmigrate:allow trigger-left x\n" + allow + "alter table rows drop column a;"}, nil},
		"table dropped too":   {[]string{add + sync, gate + "-- pgmigrate:allow drop-table x\ndrop table rows;"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := fstest.MapFS{"1_base.sql": {Data: []byte(base)}}
			for i, text := range c.up {
				files[fmt.Sprintf("%d_more.sql", i+2)] = &fstest.MapFile{Data: []byte(text)}
			}
			report := run(t, files, lint.Options{Backfills: fstest.MapFS{"rows_b.sql": {Data: []byte(copy)}}})
			var got []string
			for _, f := range report.Findings {
				got = append(got, fmt.Sprintf("%d %s", f.Version, f.Rule))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
