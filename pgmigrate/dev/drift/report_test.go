package drift_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/page-builder/persistence/pgmigrate/dev/drift"
)

// What no statement is known for is shown line by line.
func TestReportWithoutStatement(t *testing.T) {
	t.Parallel()
	const label = `create type label;
		create function label_in(cstring) returns label language internal immutable strict as 'textin';
		create function label_out(label) returns cstring language internal immutable strict as 'textout';
		create type label (input = label_in, output = label_out, like = text);
		create table pages (id int constraint pages_key primary key);
			alter table pages replica identity using index pages_key;`
	labels := fstest.MapFS{"001_labels.sql": &fstest.MapFile{Data: []byte(label)}}
	live := migratedFrom(t, labels, 1, "alter type label set (storage = external); alter table pages replica identity default")
	report, err := drift.Check(t.Context(), live, labels, drift.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var text, json strings.Builder
	if err := report.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\n--   different: type label\n",
		"\n-- No statement is known for: change type label: a base type cannot be created again while its " +
			"functions exist.",
		"\n-- -     STORAGE = external\n",
		"\nALTER TABLE ONLY public.pages REPLICA IDENTITY USING INDEX pages_key;\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
	if err := report.WriteJSON(&json); err != nil {
		t.Fatal(err)
	}
	if want := `"unexpressed":["change type label`; !strings.Contains(json.String(), want) {
		t.Errorf("no %q in\n%s", want, &json)
	}
}
