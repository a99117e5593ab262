package guides_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the repository's, seen from this package.
const root = "../../.."

// guide is one file of docs/, or the README of the repository.
type guide struct {
	name   string // "docs/production.md"
	text   string
	blocks []block
}

// block is a fenced piece of a guide.
type block struct {
	guide string
	line  int    // of its first line of content
	kind  string // the fence's info string
	text  string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.guide, b.line) }

var fence = regexp.MustCompile("(?m)^```(.*)\n((?s:.*?))^```$")

func guides(t *testing.T) []guide {
	t.Helper()
	files, err := filepath.Glob(root + "/docs/*.md")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d guides: %v", len(files), err)
	}
	var all []guide
	for _, file := range append(files, root+"/README.md") {
		all = append(all, read(t, file))
	}
	return all
}

func read(t *testing.T, file string) guide {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	g := guide{name: strings.TrimPrefix(filepath.ToSlash(file), root+"/"), text: string(text)}
	for _, at := range fence.FindAllStringSubmatchIndex(g.text, -1) {
		g.blocks = append(g.blocks, block{
			guide: g.name, line: 1 + strings.Count(g.text[:at[4]], "\n"), kind: g.text[at[2]:at[3]],
			text: g.text[at[4]:at[5]],
		})
	}
	if open := strings.Count("\n"+g.text, "\n```"); open != 2*len(g.blocks) {
		t.Fatalf("%s: %d fences make %d blocks", g.name, open, len(g.blocks))
	}
	return g
}

// of returns the blocks of a kind.
func (g guide) of(kind string) []block {
	return slices.DeleteFunc(slices.Clone(g.blocks), func(b block) bool { return b.kind != kind })
}

// prose returns the guide without its blocks.
func (g guide) prose() string { return fence.ReplaceAllString(g.text, "") }

// Each kind of block has a test in this package. A block that cannot be checked would have the kind
// "unchecked": there is none. To add one, change this number.
func TestEveryBlockIsChecked(t *testing.T) {
	t.Parallel()
	const wanted = 0
	count := map[string]int{}
	for _, g := range guides(t) {
		for _, b := range g.blocks {
			count[b.kind]++
			if !slices.Contains([]string{"go", "sql", "console", "yaml", "env", "haproxy", "ini", "sh", "unchecked"},
				b.kind) {
				t.Errorf("%s: no test knows the kind %q", b, b.kind)
			}
		}
	}
	if count["unchecked"] != wanted {
		t.Errorf("%d unchecked blocks, want %d", count["unchecked"], wanted)
	}
	for _, kind := range []string{"go", "sql", "console", "yaml", "env"} {
		if count[kind] < 3 {
			t.Errorf("only %d blocks of %s: does the pattern still find them?", count[kind], kind)
		}
	}
	t.Logf("blocks: %v", count)
}
