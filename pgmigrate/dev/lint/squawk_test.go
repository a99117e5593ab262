package lint_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/dev/lint"
)

// What squawk says about style, or about timeouts that pgmigrate sets itself, is no false alarm.
var squawkStyle = []string{
	"ban-char-field", "ban-drop-not-null", "identifier-too-long", "prefer-bigint-over-int",
	"prefer-bigint-over-smallint", "prefer-identity",
	"prefer-robust-stmts", "prefer-text-field", "prefer-timestamp-tz", "require-enum-value-ordering",
	"require-lock-timeout",
	"require-statement-timeout", "require-timeout-settings",
}

// TestSquawk prints what squawk and this package find in the corpus, statement by statement.
// PGMIGRATE_SQUAWK is squawk's binary: npm pack @squawk-cli/linux-x64 holds one.
func TestSquawk(t *testing.T) {
	squawk := os.Getenv("PGMIGRATE_SQUAWK")
	if squawk == "" {
		t.Skip("PGMIGRATE_SQUAWK is not set")
	}
	base, err := os.ReadFile("testdata/base.sql")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/corpus/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	type score struct{ found, missed, quiet, alarms int }
	var theirs, ours score
	var missed, alarms []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		fsys := fstest.MapFS{"1_base.sql": {Data: base}, "2_case.sql": {Data: text}}
		migrations, err := pgmigrate.Check(fsys)
		if err != nil {
			t.Fatal(err)
		}
		report := run(t, fsys, lint.Options{Versions: []int32{2}})
		found := squawkFindings(t, squawk, file, migrations[1].Transactional(pgmigrate.DirectionUp), report.Shadow)
		statements := migrations[1].Statements(pgmigrate.DirectionUp)
		for i, s := range statements {
			last := s.Line + strings.Count(s.SQL, "\n")
			dangerous := slices.ContainsFunc(wanted(t, string(text), report.Shadow), func(w string) bool {
				var line int
				fmt.Sscan(w, &line)
				return line >= s.Line && line <= last
			})
			hint := dangerous && strings.Contains(string(text), "int-primary-key")
			ourWord := slices.ContainsFunc(report.Findings, func(f lint.Finding) bool { return f.Line == s.Line })
			theirWord := slices.ContainsFunc(found, func(f squawkFinding) bool {
				// Some of its findings are at the comment before the statement.
				first := 1
				if i > 0 {
					first = statements[i-1].Line + strings.Count(statements[i-1].SQL, "\n") + 1
				}
				return f.Line+1 >= min(first, s.Line) && f.Line+1 <= last &&
					(hint || !slices.Contains(squawkStyle, f.Rule))
			})
			for _, side := range []struct {
				word  bool
				score *score
			}{{ourWord, &ours}, {theirWord, &theirs}} {
				switch {
				case dangerous && side.word:
					side.score.found++
				case dangerous:
					side.score.missed++
				case side.word:
					side.score.alarms++
				default:
					side.score.quiet++
				}
			}
			if dangerous && !theirWord {
				missed = append(missed, fmt.Sprintf("%s:%d", name, s.Line))
			}
			if !dangerous && theirWord {
				alarms = append(alarms, fmt.Sprintf("%s:%d", name, s.Line))
			}
		}
	}
	t.Logf("%d migrations; statements that are dangerous %d, harmless %d", len(files), ours.found+ours.missed,
		ours.quiet+ours.alarms)
	t.Logf("%-20s %8s %8s %14s", "", "found", "missed", "false alarms")
	t.Logf("%-20s %8d %8d %14d", "squawk", theirs.found, theirs.missed, theirs.alarms)
	t.Logf("%-20s %8d %8d %14d", "pgmigrate-dev lint", ours.found, ours.missed, ours.alarms)
	t.Logf("squawk missed %v", missed)
	t.Logf("squawk's false alarms %v", alarms)
}

type squawkFinding struct {
	Line int    `json:"line"` // counted from 0
	Rule string `json:"rule_name"`
}

func squawkFindings(t *testing.T, squawk, file string, transaction bool, server int) []squawkFinding {
	t.Helper()
	args := []string{"--reporter", "json", "--pg-version", fmt.Sprintf("%d.0", server)}
	if transaction {
		args = append(args, "--assume-in-transaction")
	}
	out, err := exec.CommandContext(t.Context(), squawk, append(args, file)...).Output()
	var exit *exec.ExitError // it found something
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var findings []squawkFinding
	if err := json.Unmarshal(out, &findings); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return findings
}
