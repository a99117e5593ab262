package lint_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/page-builder/persistence/pgmigrate/dev/lint"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

// A repeatable migration is judged as it runs after an edit, when its objects exist already.
func TestRepeatable(t *testing.T) {
	t.Parallel()
	migrations := fstest.MapFS{
		"1_a.sql": {Data: []byte("create table a (id bigint primary key);")},
		"2_b.sql": {Data: []byte("create table b (id bigint primary key);")},
	}
	for name, c := range map[string]struct {
		versions []int32
		files    []string
		want     []string
	}{
		"replaced": {files: []string{"create or replace view v as select id from a;"}},
		"dropped": {
			files: []string{"drop table if exists c;\ncreate table c ();"},
			want:  []string{"../repeatable/0.sql:1 drop-table"},
		},
		"not repeatable": {
			files: []string{"select 1;\ncreate view v as select id from a;", "select 1;"},
			want:  []string{"../repeatable/0.sql:2 fails"},
		},
		"fails": {
			files: []string{"select 1;", "select * from missing;"},
			want:  []string{"../repeatable/1.sql:1 fails"},
		},
		"not after version 1": {versions: []int32{1}, files: []string{"select * from missing;"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := shadow.Open(t.Context(), shadow.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			repeatable := fstest.MapFS{}
			for i, sql := range c.files {
				repeatable[fmt.Sprintf("%d.sql", i)] = &fstest.MapFile{Data: []byte(sql)}
			}
			opts := lint.Options{Repeatable: repeatable, Versions: c.versions}
			report, err := lint.Run(t.Context(), db, migrations, opts)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range report.Findings {
				got = append(got, fmt.Sprintf("%s:%d %s", f.File, f.Line, f.Rule))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
