package pgtx_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each row of BEHAVIOR.md names tests that exist, and the README is short.
func TestBehaviorNamesTests(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, name := range files {
		code.WriteString(read(name))
	}
	names := regexp.MustCompile(`\bTest\w+`)
	for line := range strings.Lines(read("BEHAVIOR.md")) {
		found := names.FindAllString(line, -1)
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| what |") && len(found) == 0 {
			t.Errorf("no test: %s", line)
		}
		for _, name := range found {
			if !strings.Contains(code.String(), "func "+name+"(") {
				t.Errorf("there is no %s", name)
			}
		}
	}
	if n := strings.Count(read("README.md"), "\n"); n > 120 {
		t.Errorf("the README has %d lines, want at most 120", n)
	}
}
