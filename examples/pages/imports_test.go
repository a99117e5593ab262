package pages_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A service compiles only the modules of this repository that it uses, and no heavy dependencies.
func TestServicesImportOnlyWhatTheyNeed(t *testing.T) {
	t.Parallel()
	const prefix = "github.com/page-builder/persistence/"
	for main, want := range map[string][]string{
		"./cmd/host":   {"pgconfig", "pgerr", "pghealth", "pgotel", "pgpool", "pgquery", "pgtx"},
		"./cmd/render": {"pgconfig", "pgerr", "pghealth", "pgotel", "pgpool", "pgtx"}, // pgotel observes pgtx
	} {
		t.Run(main, func(t *testing.T) {
			t.Parallel()
			out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{.ImportPath}}", main).Output()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for path := range strings.Lines(string(out)) {
				path = strings.TrimSpace(path)
				if own, ok := strings.CutPrefix(path, prefix); ok && !strings.Contains(own, "/") {
					got = append(got, own)
				}
				for _, weight := range []string{
					"jackc/tern", "peterldowns/pgtestdb", "magefile", "spf13/cobra", prefix + "pgtest",
					prefix + "migrations",
				} {
					if strings.Contains(path, weight) {
						t.Errorf("imports %s", path)
					}
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("imports %v of ours, want %v", got, want)
			}
		})
	}
}
