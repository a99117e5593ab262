package drift_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/page-builder/persistence/pgmigrate/dev/drift"
)

// What no statement is known for is shown line by line, and why pg-schema-diff gave up is said.
func TestReportWithoutStatement(t *testing.T) {
	t.Parallel()
	moods := fstest.MapFS{"001_moods.sql": &fstest.MapFile{Data: []byte(`create schema shop;
		create type shop.mood as enum ('good', 'bad');
		create table pages (id int constraint pages_key primary key);
			alter table pages replica identity using index pages_key;`)}}
	live := migratedFrom(t, moods, 1,
		"alter type shop.mood add value 'fair'; alter table pages replica identity default")
	report, err := drift.Check(t.Context(), live, moods, drift.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var text, json strings.Builder
	if err := report.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\n-- pg-schema-diff: ",
		"\n--   different: type shop.mood\n",
		"\n-- No statement is known for: change type shop.mood (PostgreSQL adds values to an enum, and takes " +
			"none out).",
		"\n-- -     'fair'\n",
		"\nALTER TABLE ONLY public.pages REPLICA IDENTITY USING INDEX pages_key;\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
	if err := report.WriteJSON(&json); err != nil {
		t.Fatal(err)
	}
	if want := `"unexpressed":["change type shop.mood (PostgreSQL`; !strings.Contains(json.String(), want) {
		t.Errorf("no %q in\n%s", want, &json)
	}
}
