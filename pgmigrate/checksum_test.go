package pgmigrate_test

import (
	"testing"

	"github.com/page-builder/persistence/pgmigrate"
)

func TestChecksumOfMigration(t *testing.T) {
	t.Parallel()
	a := pgmigrate.Migration{Up: "select 1;\nselect 2;", Down: "select 3;"}
	windows := pgmigrate.Migration{Up: "select 1;\r\nselect 2;", Down: "select 3;"}
	if a.Checksum() != windows.Checksum() {
		t.Error("a checkout on Windows counts as an edit")
	}
	for _, other := range []pgmigrate.Migration{{Up: a.Up}, {Up: a.Up + a.Down}, {Up: a.Down, Down: a.Up}} {
		if a.Checksum() == other.Checksum() {
			t.Errorf("%+v has the same checksum", other)
		}
	}
}
