package pgmigrate_test

import (
	"testing"
	"testing/fstest"

	"github.com/page-builder/persistence/pgmigrate"
)

func TestMigrationStatements(t *testing.T) {
	t.Parallel()
	fsys := fstest.MapFS{
		"1_a.sql": {Data: []byte(`-- first; not a statement
create table a (id int); -- behind; it

/* before
   the second */ do $$ begin perform 1; end $$ -- no semicolon

---- create above / drop below ----

select ';';
drop table a;
create rule r as on delete to b do (select 1; select 2);
`)},
		"2_b.sql": {Data: []byte("create table {{.name}} (id int);\ndrop table b;")},
	}
	migrations, err := pgmigrate.Check(fsys, pgmigrate.WithData(map[string]any{"name": "b"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		migration int
		direction pgmigrate.Direction
		want      []pgmigrate.Statement
	}{
		{0, pgmigrate.DirectionUp, []pgmigrate.Statement{
			{SQL: "create table a (id int)", Offset: 26, Line: 2},
			{SQL: "do $$ begin perform 1; end $$", Offset: 93, Line: 5},
		}},
		{0, pgmigrate.DirectionDown, []pgmigrate.Statement{
			{SQL: "select ';'", Offset: 0, Line: 9},
			{SQL: "drop table a", Offset: 12, Line: 10},
			{SQL: "create rule r as on delete to b do (select 1; select 2)", Offset: 26, Line: 11},
		}},
		{1, pgmigrate.DirectionUp, []pgmigrate.Statement{
			{SQL: "create table b (id int)", Offset: 0}, {SQL: "drop table b", Offset: 25},
		}},
		{1, pgmigrate.DirectionDown, nil},
	} {
		got := migrations[c.migration].Statements(c.direction)
		if len(got) != len(c.want) {
			t.Errorf("%d %s: %q", c.migration, c.direction, got)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%d %s: got %+v, want %+v", c.migration, c.direction, got[i], c.want[i])
			}
		}
	}
}
