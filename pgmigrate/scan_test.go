package pgmigrate_test

import (
	"slices"
	"testing"

	"github.com/page-builder/persistence/pgmigrate"
)

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
