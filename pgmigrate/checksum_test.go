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

// A template that renders differently each time is not edited for ever.
func TestChecksumOfUnstableTemplate(t *testing.T) {
	t.Parallel()
	for source, stable := range map[string]bool{
		"select '{{ now }}', {{ randNumeric 9 }};":                    true,
		"select {{ if true }}{{ randAlphaNum 9 | squote }}{{ end }};": true,
		"select '{{ .env }}';":                                        false,
	} {
		sum := func(value string) string {
			list, err := pgmigrate.Check(files("1_a.sql", source), pgmigrate.WithData(map[string]any{"env": value}))
			if err != nil {
				t.Fatal(err)
			}
			return list[0].Checksum()
		}
		if a, b := sum("a"), sum("b"); (a == b) != stable {
			t.Errorf("%s: %s and %s", source, a, b)
		}
	}
}
