package guides_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

var inline = regexp.MustCompile("`(?:go tool )?((?:mage|pgmigrate) [^`]+)`")

// inProse: commands in the middle of a sentence or a table name targets, subcommands and flags that exist.
func inProse(t *testing.T, bin string) {
	t.Parallel()
	all, err := targets(root + "/magefile.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, g := range guides(t) {
		for _, found := range inline.FindAllStringSubmatch(g.prose(), -1) {
			seen++
			words := strings.Fields(found[1])
			if words[0] == "mage" {
				if err := mage(all, words[1:]); err != nil {
					t.Errorf("%s: %v", g.name, err)
				}
				continue
			}
			help, err := exec.CommandContext(t.Context(), bin+"/pgmigrate", words[1], "--help").CombinedOutput()
			if err != nil || !strings.Contains(string(help), "pgmigrate "+words[1]) {
				t.Errorf("%s: %s: %v", g.name, found[1], err)
			}
			for _, w := range words[2:] {
				if strings.HasPrefix(w, "-") && !regexp.MustCompile(regexp.QuoteMeta(w)+`\b`).Match(help) {
					t.Errorf("%s: %s has no flag %s", g.name, words[1], w)
				}
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d commands found", seen)
	}
}
