package pgmigrate_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgmigrate"
)

// A down section that is a comment undoes nothing, so it must not take the version back.
func TestReversible(t *testing.T) {
	t.Parallel()
	for down, want := range map[string]bool{
		"": false, "-- nothing\n;\n": false, "/* select 1; */": false, "-- why\nselect 1;": true,
	} {
		fsys := files("1_a.sql", "create table a (id int);\n---- create above / drop below ----\n"+down)
		migrations, err := pgmigrate.Check(fsys)
		if err != nil || migrations[0].Reversible() != want {
			t.Errorf("%q: %v, %v", down, migrations, err)
		}
	}
	b := setup(t)
	m := migrator(t, b, files("1_a.sql", "create table a (id int);\n---- create above / drop below ----\n-- later"))
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	var irreversible *pgmigrate.IrreversibleError
	if _, err := m.Down(t.Context()); !errors.As(err, &irreversible) {
		t.Errorf("got %v", err)
	}
}

func TestMissingValueHasItsName(t *testing.T) {
	t.Parallel()
	fsys := files("1_a.sql", "create role {{.name}} password '{{ .secret | quote }}' -- {{.given}}\n;")
	_, err := pgmigrate.Check(fsys, pgmigrate.WithStrict(), pgmigrate.WithData(map[string]any{"given": 1}))
	if err == nil || !strings.Contains(err.Error(), "missing template value: name, secret") {
		t.Errorf("got %v", err)
	}
}
