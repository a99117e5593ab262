package pgquerytest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/page-builder/persistence/pgquery/internal/decl"
)

// line returns "file:line: " for a piece of a declaration, or for the declaration if the piece has
// no line of its own. It returns "" if no Go file of the tested module has the declaration. It
// reads the files as text and looks for Name after the name of the type.
func line(d *decl.Declaration, piece string) string {
	dir, err := os.Getwd() // go test runs in the folder of the package
	if err != nil {
		return ""
	}
	root := dir
	for parent := dir; parent != filepath.Dir(parent); parent = filepath.Dir(parent) {
		if _, err := os.Stat(filepath.Join(parent, "go.mod")); err == nil {
			root = parent
			break
		}
	}
	place := ""
	for _, top := range []string{dir, root} { // two packages' tests may use a name
		_ = filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
			switch {
			case err != nil || place != "":
				return fs.SkipAll
			case e.IsDir() && path != top && (e.Name() == "vendor" || e.Name()[0] == '.'):
				return fs.SkipDir
			case e.IsDir() || filepath.Ext(path) != ".go":
				return nil
			}
			text, _ := os.ReadFile(path) // an unreadable file declares nothing
			if n := lineIn(string(text), d, piece); n > 0 {
				short, _ := filepath.Rel(dir, path)
				place = fmt.Sprintf("%s:%d: ", short, n)
			}
			return nil
		})
	}
	return place
}

var kinds = regexp.MustCompile(`\b(List|Patch|Relation|Insert)\[`)

// lineIn returns the number of the line in a file, or 0.
func lineIn(text string, d *decl.Declaration, piece string) int {
	if !strings.Contains(text, strconv.Quote(d.Name)) {
		return 0
	}
	field, element, _ := strings.Cut(piece, "[")
	element, _, _ = strings.Cut(element, "]")
	name := regexp.MustCompile(`\bName:\s*` + strconv.Quote(d.Name))
	kind, found := "", 0
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if match := kinds.FindAllStringSubmatch(line, -1); match != nil {
			kind = match[len(match)-1][1]
		}
		switch {
		case found == 0 && kind == d.Kind && name.MatchString(line):
			found = i + 1
		case found > 0 && strings.Contains(line, "Name:"):
			return found
		case found == 0:
			continue
		}
		if regexp.MustCompile(`\b` + regexp.QuoteMeta(field) + `:`).MatchString(line) {
			found = i + 1
			indent := line[:len(line)-len(strings.TrimLeft(line, "\t"))] + "\t"
			for j := i; element != "" && j < len(lines) && (j == i || strings.HasPrefix(lines[j], indent)); j++ {
				if strings.Contains(lines[j], strconv.Quote(element)) {
					return j + 1
				}
			}
			return found
		}
	}
	return found
}
