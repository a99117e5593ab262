package guides_test

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

var (
	inline = regexp.MustCompile("`(?:go tool )?((?:mage|pgmigrate) [^`]+)`")
	flag   = regexp.MustCompile("`(--[a-z-]+)")
	inPod  = regexp.MustCompile(`command: \[pgmigrate\]\n\s+args: \[(.*)\]`)
)

// inProse: commands in the middle of a sentence, of a table or a manifest name targets, subcommands
// and flags that exist.
func inProse(t *testing.T, bin string) {
	t.Parallel()
	seen := 0
	for _, g := range guides(t) {
		all, err := targets(root, g.magefile())
		if err != nil {
			t.Fatal(err)
		}
		calls := inline.FindAllStringSubmatch(g.prose(), -1)
		for _, b := range g.of("yaml") {
			for _, found := range inPod.FindAllStringSubmatch(b.text, -1) {
				calls = append(calls,
					[]string{"", "pgmigrate " + strings.NewReplacer(`"`, "", ",", "").Replace(found[1])})
			}
		}
		for _, found := range calls {
			seen++
			words := strings.Fields(found[1])
			if words[0] == "mage" {
				err = mage(all, words[1:])
			} else {
				err = subcommand(t, bin, words[1:])
			}
			if err != nil {
				t.Errorf("%s: %v", g.name, err)
			}
		}
	}
	help, err := exec.CommandContext(t.Context(), "bash", "-c", "for c in new up to down wait seed resolve status; do "+bin+
		"/pgmigrate $c --help; done; "+bin+"/pginit --help 2>&1").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range guides(t) {
		for _, found := range flag.FindAllStringSubmatch(g.prose(), -1) {
			if !regexp.MustCompile(found[1] + `\s`).Match(help) {
				t.Errorf("%s: neither pgmigrate nor pginit has a flag %s", g.name, found[1])
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d commands found", seen)
	}
}

// subcommand asks pgmigrate whether it has the subcommand and the flags.
func subcommand(t *testing.T, bin string, words []string) error {
	t.Helper()
	command, rest := words[:1], words[1:]
	if words[0] == "backfill" && len(rest) > 0 {
		command, rest = words[:2], words[2:]
	}
	name := strings.Join(command, " ")
	help, err := exec.CommandContext(t.Context(), bin+"/pgmigrate", append(command[:len(command):len(command)],
		"--help")...).CombinedOutput()
	if err != nil || !strings.Contains(string(help), "pgmigrate "+name) {
		return fmt.Errorf("pgmigrate has no %s: %v", name, err)
	}
	for _, w := range rest {
		if strings.HasPrefix(w, "-") && !regexp.MustCompile(`(?m)^.*`+regexp.QuoteMeta(w)+`\b`).Match(help) {
			return fmt.Errorf("pgmigrate %s has no flag %s", name, w)
		}
	}
	return nil
}
