package pgmigrate_test

import (
	"slices"
	"strings"
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

func TestStatements(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sql  string
		want []string
	}{
		{"", []string{}},
		{" ; -- nothing\n;", []string{}},
		{"select 1", []string{"select 1"}},
		{"-- first\nselect 1; /* ; */ select 2 -- behind\n;", []string{"select 1", "select 2"}},
		{
			"select ';', \";\", $a$ ; $a$, E'\\';'; select 2;",
			[]string{"select ';', \";\", $a$ ; $a$, E'\\';'", "select 2"},
		},
		{
			"create function f() returns int begin atomic select case when true then 1 end; select 2; end; select 3",
			[]string{
				"create function f() returns int begin atomic select case when true then 1 end; select 2; end",
				"select 3",
			},
		},
		// A comment that ends in a backslash ends with its line, and a carriage return ends one
		// too.
		{"select 1; -- a\\\nselect 2; -- b\rselect 3", []string{"select 1", "select 2", "select 3"}},
		{"select a$b from t; select $b$ ; $b$", []string{"select a$b from t", "select $b$ ; $b$"}},
		{
			"set standard_conforming_strings = off; select 'a\\'; b'; reset all; select 'a\\'; select 2",
			[]string{
				"set standard_conforming_strings = off", "select 'a\\'; b'", "reset all", "select 'a\\'", "select 2",
			},
		},
		{
			"set session standard_conforming_strings to 'off'; select 'a\\'; b'; select E'a' -- c\n'\\';'; select 2",
			[]string{
				"set session standard_conforming_strings to 'off'", "select 'a\\'; b'", "select E'a' -- c\n'\\';'",
				"select 2",
			},
		},
		// Whatever the server will say of it.
		{"select 1; select 'open; select 2", []string{"select 1", "select 'open; select 2"}},
		{"select 1; /* open; /* nested */ select 2", []string{"select 1"}},
		{"select $a$ open; select 2", []string{"select $a$ open; select 2"}},
		{"select $1; select a$ ; select $", []string{"select $1", "select a$", "select $"}},
	} {
		if got := pgmigrate.Statements(c.sql); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.sql, got, c.want)
		}
	}
}

// Time that grows with the square of the size would show as a test that does not end.
func TestStatementsOfLargeFile(t *testing.T) {
	t.Parallel()
	const n = 100_000
	sql := strings.Repeat("insert into a values ('x', $$y$$) /* z */; -- w\n", n)
	fsys := fstest.MapFS{"1_a.sql": {Data: []byte(sql)}}
	migrations, err := pgmigrate.Check(fsys)
	if err != nil {
		t.Fatal(err)
	}
	statements := migrations[0].Statements(pgmigrate.DirectionUp)
	if len(statements) != n || statements[n-1].Line != n {
		t.Errorf("%d statements, the last at line %d", len(statements), statements[len(statements)-1].Line)
	}
}

// A splitter that misplaces the end of a statement makes an interrupted section run one again, or
// a file never count as applied.
func TestOddStatementsRunOnce(t *testing.T) {
	t.Parallel()
	const sql = `insert into n values ('-- a comment that ends in a backslash \'); -- \
insert into n values ($a$;$a$); -- $a$
select a$b$ from (select 1 as a$b$) x; insert into n values ('$b$');
create rule r as on delete to n do also (insert into log values (1); insert into log values (2));
create function f() returns int begin atomic select case when true then 1 else 2 end; end;
insert into n values (E'\';'), (U&'\0061;') /* ; /* ; */ ; */;
set standard_conforming_strings = off; insert into n values ('\'; insert into n values (1); --');
`
	for _, marker := range []string{"", disableTx} {
		b := setup(t)
		b.exec(t, "create table n (v text); create table log (v int)")
		m := migrator(t, b, files("1_a.sql", marker+sql), pgmigrate.WithStrict())
		for range 2 {
			if r, err := m.Up(t.Context()); err != nil || r.To != 1 {
				t.Fatalf("%+v, %v", r, err)
			}
		}
		if n := ask[int](t, b, "select count(*) from n"); n != 6 {
			t.Errorf("%d rows", n)
		}
		if n := len(m.Migrations()[0].Statements(pgmigrate.DirectionUp)); n != 10-1 {
			t.Errorf("%d statements", n)
		}
	}
}
