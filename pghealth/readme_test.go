package pghealth_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/page-builder/persistence/pghealth"
)

// README's Go code consists of lines of the examples, which are compiled.
func TestReadmeCodeIsCompiled(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	examples, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	compiled := make(map[string]bool)
	for line := range strings.Lines(string(examples)) {
		compiled[strings.TrimSpace(line)] = true
	}
	blocks := strings.Split(string(readme), "```go\n")
	if len(blocks) < 3 {
		t.Fatalf("%d blocks of Go", len(blocks)-1)
	}
	for _, block := range blocks[1:] {
		code, _, _ := strings.Cut(block, "```")
		for line := range strings.Lines(code) {
			if line = strings.TrimSpace(line); line != "" && !compiled[line] {
				t.Errorf("not in an example: %s", line)
			}
		}
	}
}

// The manifest's timings fit the defaults and each other.
func TestManifestTimings(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../docs/kubernetes.md")
	if err != nil {
		t.Skip("needs the guide of the repository")
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, manifest, _ := strings.Cut(string(guide), "kind: Deployment")
	manifest, _, _ = strings.Cut(manifest, "```")
	number := func(probe, key string) time.Duration {
		t.Helper()
		_, text, _ := strings.Cut(manifest, probe)
		_, text, _ = strings.Cut(text, key+": ")
		digits, _, _ := strings.Cut(text, "\n")
		n, err := strconv.Atoi(strings.Fields(digits + " -")[0])
		if err != nil {
			t.Fatalf("%s of %s: %v", key, probe, err)
		}
		return time.Duration(n) * time.Second
	}
	const wait = 5 * time.Second // after Drain, in the example
	if !strings.Contains(string(readme), "time.Sleep(5 * time.Second)") {
		t.Error("the example waits for another time")
	}
	for _, probe := range []string{"startupProbe", "readinessProbe", "livenessProbe"} {
		if limit := number(probe, "timeoutSeconds"); limit < pghealth.DefaultTimeout+100*time.Millisecond {
			t.Errorf("%s gives up after %v", probe, limit)
		}
		if n := number(probe, "failureThreshold") / time.Second; n < 2 {
			t.Errorf("%s fails after %d answers", probe, n)
		}
	}
	noticed := number("readinessProbe", "periodSeconds") * (number("readinessProbe", "failureThreshold") / time.Second)
	if noticed >= wait {
		t.Errorf("Drain is noticed after %v, later than the example waits", noticed)
	}
	if grace := number("spec:", "terminationGracePeriodSeconds"); grace < 2*wait {
		t.Errorf("grace of %v", grace)
	}
}

// Each row of BEHAVIOR.md names tests that exist, and the README is short.
func TestBehaviorNamesTests(t *testing.T) {
	t.Parallel()
	behavior, err := os.ReadFile("BEHAVIOR.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		code.Write(text)
	}
	names := regexp.MustCompile(`\bTest\w+`)
	for line := range strings.Lines(string(behavior)) {
		if !strings.HasPrefix(line, "| ") || strings.HasSuffix(line, "| test |\n") {
			continue
		}
		found := names.FindAllString(line, -1)
		if len(found) == 0 {
			t.Errorf("no test: %s", line)
		}
		for _, name := range found {
			if !strings.Contains(code.String(), "func "+name+"(") {
				t.Errorf("there is no %s", name)
			}
		}
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(readme), "\n"); n > 120 {
		t.Errorf("README.md has %d lines", n)
	}
}
