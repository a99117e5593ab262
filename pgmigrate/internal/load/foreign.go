package load

import (
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/page-builder/persistence/pgmigrate/internal/foreign"
)

var downMarker = regexp.MustCompile(`(?im)^\s*--+.*\b(?:down|undo|rollback)\b`)

// findForeign returns a problem for each other tool whose files are in fsys. tern would run the
// part that undoes a migration right after the part that applies it.
func findForeign(fsys fs.FS, entries []fs.DirEntry) []Problem {
	var problems []Problem
	found := map[foreign.Tool]bool{}
	add := func(tool foreign.Tool, file string, line int) {
		if found[tool] {
			return // the first file of a tool is enough
		}
		found[tool] = true
		problems = append(problems, Problem{
			File: file, Line: line, Detail: fmt.Sprintf("this is a migration of %s, not of tern", tool),
			Hint: "convert the folder with \"pgmigrate import DIR --dir NEW\"",
		})
	}
	if tool, file := foreign.OfFolder(fsys, entries); tool != "" {
		add(tool, file, 0)
	}
	for _, e := range entries {
		if e.IsDir() || !sqlFile.MatchString(e.Name()) {
			continue
		}
		if tool := foreign.OfName(e.Name()); tool != "" {
			add(tool, e.Name(), 0)
			continue
		}
		body, err := fs.ReadFile(fsys, e.Name())
		if err != nil {
			continue // Folder reports it
		}
		// A converted file may keep the old markers as comments.
		up, _, converted := strings.Cut(string(body), SectionMarker)
		if tool, line := foreign.OfText(up); tool != "" && (!converted || downMarker.MatchString(up)) {
			add(tool, e.Name(), line)
		}
	}
	return problems
}
