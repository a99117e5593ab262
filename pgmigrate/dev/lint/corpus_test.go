package lint_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/dev/lint"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

// wantComment declares the expected finding in the next statement: "-- want RULE", "-- want RULE
// (PostgreSQL 18)".
var wantComment = regexp.MustCompile(`(?m)^-- want ([a-z-]+)(?: \((from|before) (\d+)\))?$`)

// wanted returns "LINE RULE" for each declaration in a file, with the line of the code that
// follows.
func wanted(t *testing.T, text string, server int) []string {
	t.Helper()
	var want []string
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		match := wantComment.FindStringSubmatch(line)
		if match == nil {
			if strings.HasPrefix(line, "-- want") {
				t.Errorf("line %d declares nothing: %s", i+1, line)
			}
			continue
		}
		if _, ok := ruleNamed(match[1]); !ok {
			t.Errorf("line %d: no rule %s", i+1, match[1])
		}
		if limit := 0; match[2] != "" {
			fmt.Sscan(match[3], &limit)
			if match[2] == "from" != (server >= limit) {
				continue
			}
		}
		at := i + 1
		for at < len(lines) && (strings.TrimSpace(lines[at]) == "" || strings.HasPrefix(lines[at], "--")) {
			at++
		}
		want = append(want, fmt.Sprintf("%d %s", at+1, match[1]))
	}
	slices.Sort(want)
	return want
}

func ruleNamed(name string) (lint.Rule, bool) {
	for _, r := range lint.Rules() {
		if r.Name == name {
			return r, true
		}
	}
	return lint.Rule{}, false
}

// Each file of the corpus declares its findings. The verdicts come from PostgreSQL's documentation,
// not from the linter.
func TestCorpus(t *testing.T) {
	t.Parallel()
	base, err := os.ReadFile("testdata/base.sql")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/corpus/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	harmless := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !wantComment.Match(text) {
			harmless++
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".sql"), func(t *testing.T) {
			t.Parallel()
			report := run(t, fstest.MapFS{"1_base.sql": {Data: base}, "2_case.sql": {Data: text}},
				lint.Options{Versions: []int32{2}})
			var got []string
			for _, f := range report.Findings {
				got = append(got, fmt.Sprintf("%d %s", f.Line, f.Rule))
			}
			slices.Sort(got)
			if want := wanted(t, string(text), report.Shadow); !slices.Equal(got, want) {
				t.Errorf("\n got %q\nwant %q", got, want)
				for _, f := range report.Findings {
					t.Logf("%d %s: %s\n%s", f.Line, f.Rule, f.Message, f.Fix)
				}
			}
		})
	}
	t.Logf("%d migrations, %d of them harmless", len(files), harmless)
}

func run(t *testing.T, fsys fstest.MapFS, opts lint.Options) lint.Report {
	t.Helper()
	db, err := shadow.Open(t.Context(), shadow.Options{Migrate: []pgmigrate.Option{pgmigrate.WithData(opts.Data)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	report, err := lint.Run(t.Context(), db, fsys, opts)
	if err != nil {
		t.Fatal(err)
	}
	return report
}
