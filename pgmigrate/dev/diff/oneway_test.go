package diff_test

import (
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgmigrate/dev/diff"
)

// One file without a way back, here because PostgreSQL detaches no index, leaves the others theirs.
func TestOneWay(t *testing.T) {
	t.Parallel()
	const table = `create table p (id int not null, at date not null) partition by range (at);
		create table p1 partition of p for values from ('2024-01-01') to ('2025-01-01');
		alter table only p add constraint pk primary key (id, at);`
	result, err := diff.Make(t.Context(), after(table+"create unique index p1_pk on p1 (id, at);"),
		table+`alter table p1 add constraint p1_pk primary key (id, at);
		alter index pk attach partition p1_pk;`, "one_way", diff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	last := len(result.Files) - 1
	for i, f := range result.Files {
		oneWay := strings.Contains(f.Content, "-- This cannot be rolled back: ")
		if oneWay != (i == last) || oneWay && !strings.Contains(f.Content, "cannot drop inherited constraint") {
			t.Errorf("%s:\n%s", f.Name, f.Content)
		}
	}
}
