package pgmigrate_test

import (
	"errors"
	"testing"

	"github.com/page-builder/persistence/pgmigrate"
)

// A comment that is meant to require a backfill either does or is a problem of the folder.
func TestGateComments(t *testing.T) {
	t.Parallel()
	for comment, want := range map[string]string{
		"-- pgmigrate:requires-backfill a":          "a",
		"--pgmigrate:requires-backfill\ta-b_1":      "a-b_1",
		"-- pgmigrate:requires-backfill a b":        "problem",
		"-- pgmigrate:requires-backfill":            "problem",
		"-- pgmigrate:requires-backfill A":          "problem",
		"-- pgmigrate:require-backfill a":           "problem",
		"-- pgmigrate: requires-backfill a":         "problem",
		"--- PGMIGRATE:REQUIRES BACKFILL a":         "problem",
		"/* pgmigrate:requires-backfill a */":       "problem",
		"-- requires a backfill":                    "",
		"select '-- pgmigrate:requires-backfill a'": "",
	} {
		list, err := pgmigrate.Check(files("001_a.sql", "select 1;\n"+comment+"\n;select 2"))
		var folder *pgmigrate.FolderError
		switch {
		case want == "problem":
			if !errors.As(err, &folder) || folder.Problems[0].Line != 2 {
				t.Errorf("%s: %v", comment, err)
			}
		case err != nil:
			t.Errorf("%s: %v", comment, err)
		case want == "" && len(list[0].RequiredBackfills()) > 0,
			want != "" && (len(list[0].RequiredBackfills()) != 1 || list[0].RequiredBackfills()[0] != want):
			t.Errorf("%s: %q", comment, list[0].RequiredBackfills())
		}
	}
	_, err := pgmigrate.Check(files("001_a.sql",
		"select 1;\n---- create above / drop below ----\n-- pgmigrate:requires-backfill a\nselect 1"))
	if err == nil {
		t.Error("a down section requires a backfill")
	}
}

func TestGate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	folder := files("001_a.sql", "create table a (id int)", "002_b.sql",
		"-- pgmigrate:requires-backfill fill\ncreate table b (id int)")
	result, err := migrator(t, b, folder).Up(t.Context())
	var gate *pgmigrate.BackfillError
	if !errors.As(err, &gate) || gate.Version != 2 || gate.Name != "002_b.sql" || gate.Backfill != "fill" ||
		gate.State != "pending" || result.To != 1 {
		t.Fatalf("%+v, %v", result, err)
	}
	// Without rows there is nothing to wait for.
	if _, err := migrator(t, b, folder, pgmigrate.WithoutBackfills()).Up(t.Context()); err != nil {
		t.Fatal(err)
	}
}
