package guides_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	dropped = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// Links lead to existing files and headings, and the index leads to every guide.
func TestLinks(t *testing.T) {
	t.Parallel()
	index, err := os.ReadFile(root + "/docs/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range guides(t) {
		checkLinks(t, g.name, g.text)
		file, ofDocs := strings.CutPrefix(g.name, "docs/")
		if ofDocs && file != "README.md" && !strings.Contains(string(index), "("+file+")") {
			t.Errorf("docs/README.md has no link to %s", g.name)
		}
		if !strings.HasPrefix(g.text, "# ") {
			t.Errorf("%s begins without a title", g.name)
		}
	}
}

func checkLinks(t *testing.T, name, text string) {
	t.Helper()
	for _, found := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		target := found[1]
		if strings.Contains(target, "://") {
			continue
		}
		path, anchor, _ := strings.Cut(target, "#")
		file := filepath.Join(root, filepath.Dir(name), path)
		if path == "" {
			file = filepath.Join(root, name)
		}
		info, err := os.Stat(file)
		if err != nil {
			t.Errorf("%s: the link %s leads nowhere", name, target)
			continue
		}
		if anchor == "" {
			continue
		}
		if info.IsDir() {
			file = filepath.Join(file, "README.md")
		}
		there, err := os.ReadFile(file)
		if err != nil {
			t.Errorf("%s: the link %s: %v", name, target, err)
			continue
		}
		if !hasAnchor(string(there), anchor) {
			t.Errorf("%s: the link %s leads to no heading", name, target)
		}
	}
}

// hasAnchor reports whether a heading has that anchor by GitHub's rule.
func hasAnchor(text, anchor string) bool {
	for _, found := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		name := dropped.ReplaceAllString(strings.ToLower(found[1]), "")
		if strings.ReplaceAll(name, " ", "-") == anchor {
			return true
		}
	}
	return false
}
