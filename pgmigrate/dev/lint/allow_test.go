package lint_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/page-builder/persistence/pgmigrate/dev/lint"
)

func TestAllow(t *testing.T) {
	t.Parallel()
	const base = "create table a (id int, x int); create table b (id int);"
	for name, c := range map[string]struct {
		sql  string
		want []string
	}{
		"above":  {"-- pgmigrate:allow drop-table never used\ndrop table a;", nil},
		"behind": {"drop table a; -- pgmigrate:allow drop-table never used\nselect 1;", nil},
		"among other comments": {
			"select 1;\n-- what for\n-- pgmigrate:allow drop-table never used\n/* and why */\ndrop table a;", nil,
		},
		"two rules": {
			"-- pgmigrate:allow drop-column unused\n-- pgmigrate:allow index-without-concurrently tiny\nalter table " +
				"a drop column x, add column y int;\ncreate index on a (id);",
			[]string{"2 unused-allow", "4 index-without-concurrently"},
		},
		"the next statement is another": {
			"-- pgmigrate:allow drop-table never used\ndrop table a;\ndrop table b;",
			[]string{"3 drop-table", "3 several-tables-locked"},
		},
		"for the file": {
			"-- pgmigrate:allow drop-table the feature is gone\n-- pgmigrate:allow several-tables-locked at night\n" +
				"\ndrop table a;\ndrop table b;", nil,
		},
		"no reason": {
			"-- pgmigrate:allow drop-table\ndrop table a;", []string{"1 allow-without-reason", "2 drop-table"},
		},
		"no such rule": {
			"-- pgmigrate:allow drop-tabel never used\ndrop table a;", []string{"1 unknown-rule", "2 drop-table"},
		},
		"nothing to allow": {
			"select 1;\n\n-- pgmigrate:allow drop-table never used\nselect 2;", []string{"3 unused-allow"},
		},
		"at the end": {
			"drop table a;\n-- pgmigrate:allow drop-table never used", []string{"1 drop-table", "2 unused-allow"},
		},
		"in a string": {
			"select '\n-- pgmigrate:allow drop-table never used\n';\ndrop table a;", []string{"4 drop-table"},
		},
		"in the statement":  {"drop table\n-- pgmigrate:allow drop-table never used\na;", []string{"1 drop-table"}},
		"failing migration": {"-- pgmigrate:allow fails it does\ndrop table c;", []string{"1 unused-allow", "2 fails"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report := run(t, fstest.MapFS{"1_a.sql": {Data: []byte(base)}, "2_b.sql": {Data: []byte(c.sql)}},
				lint.Options{Versions: []int32{2}})
			var got []string
			for _, f := range report.Findings {
				got = append(got, fmt.Sprintf("%d %s", f.Line, f.Rule))
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	report := run(t, fstest.MapFS{
		"1_a.sql": {Data: []byte("create table a (id int);")},
		"2_b.sql": {Data: []byte("select 1;\ncreate index a_id on a (id);")},
	}, lint.Options{Versions: []int32{2}, Target: 18})
	if report.Target != 18 || !slices.Equal(report.Files, []string{"2_b.sql"}) {
		t.Errorf("%+v", report)
	}
	for format, c := range map[string]struct {
		write func(*strings.Builder) error
		want  []string
	}{
		"text": {func(b *strings.Builder) error { return report.WriteText(b, "db") }, []string{
			"db/2_b.sql:2: error: index-without-concurrently: builds a_id on a\n",
			"create index concurrently a_id on a (id);", "tern: disable-tx",
			"-- pgmigrate:allow index-without-concurrently REASON", "1 errors, 0 warnings",
		}},
		"json": {func(b *strings.Builder) error {
			return report.WriteJSON(b, "db")
		}, []string{`"file": "db/2_b.sql",`, `"line": 2`, `"errors": 1,`, `"target": 18`}},
		"github": {func(b *strings.Builder) error {
			return report.WriteGitHub(b, "db")
		}, []string{"::error file=db/2_b.sql,line=2,title=index-without-concurrently::builds a_id on a: ", "%0A"}},
	} {
		var b strings.Builder
		if err := c.write(&b); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: no %q in %s", format, want, b.String())
			}
		}
	}
}
