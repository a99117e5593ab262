// Package load reads a folder of tern migrations, lets tern render it, and reports every problem
// with file and line.
package load

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/tern/v2/migrate"
)

// Migration is one file of the folder, split and rendered by tern.
type Migration struct {
	Version  int32
	Name     string
	Up, Down string // rendered SQL
	// UpLine and DownLine are where the sections begin in the file, 0 if a template moved the
	// lines.
	UpLine, DownLine int
	// Unstable is the source of a template that renders differently each time, "" for others.
	Unstable string
}

// Problem is pgmigrate.Problem.
type Problem struct {
	File    string
	Line    int
	Detail  string
	Hint    string
	Warning bool
}

const (
	// DisableTx is tern's line for a section without a transaction.
	DisableTx = "---- tern: disable-tx ----"
	// SectionMarker is tern's line between the up and the down section.
	SectionMarker = "---- create above / drop below ----"
)

var (
	fileName = regexp.MustCompile(`\A(\d+)_.+\.sql\z`) // tern's
	// tern ignores a name with a hyphen or a capital extension without a word.
	sqlFile = regexp.MustCompile(`(?i)\.sql\z`)
)

// Folder reads the migrations at the top of fsys, which must not be nil. The migrations are
// complete if no problem is more than a warning.
func Folder(fsys fs.FS, data map[string]any) ([]Migration, []Problem) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, []Problem{{File: ".", Detail: err.Error(), Hint: "does the folder exist?"}}
	}
	if problems := findForeign(fsys, entries); len(problems) > 0 {
		return nil, problems
	}
	const example = "a migration is named NUMBER_NAME.sql, such as 001_create_pages.sql"
	var problems []Problem
	var sources []source
	for _, e := range entries {
		if e.IsDir() || !sqlFile.MatchString(e.Name()) {
			continue
		}
		if !fileName.MatchString(e.Name()) {
			problems = append(problems, Problem{
				File: e.Name(), Detail: "the file is ignored", Hint: example, Warning: true,
			})
			continue
		}
		body, err := fs.ReadFile(fsys, e.Name())
		if err != nil {
			problems = append(problems, Problem{File: e.Name(), Detail: err.Error()})
		}
		s := newSource(e.Name(), string(body))
		if err == nil {
			problems = append(problems, s.check()...)
		}
		sources = append(sources, s)
	}
	if len(sources) == 0 {
		hint := example + ", at the top of the folder"
		// embed.FS keeps the name of the embedded folder.
		if sub := subfolder(fsys, entries); sub != "" {
			hint = fmt.Sprintf("there are some in the subfolder %q: pass fs.Sub(fsys, %q)", sub, sub)
		}
		return nil, []Problem{{File: ".", Detail: "no migrations found", Hint: hint}}
	}
	// tern panics on number 0, and allocates a slice as long as the largest number.
	problems = append(problems, checkNumbers(sources)...)
	if Faulty(problems) {
		return nil, problems
	}
	rendered, err := render(fsys, data)
	if err != nil {
		return nil, append(problems, renderProblem(err, sources))
	}
	if len(rendered) != len(sources) {
		return nil, append(problems, Problem{
			File: ".", Detail: "the folder changed while it was read", Hint: "try again",
		})
	}
	migrations := make([]Migration, len(sources))
	for i, r := range rendered {
		migrations[i] = sources[i].migration(int32(i+1), r)
		problems = append(problems, sources[i].checkRendered(r, data)...)
	}
	return migrations, problems
}

// Faulty reports whether a problem is more than a warning.
func Faulty(problems []Problem) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return !p.Warning })
}

// subfolder returns the first subfolder with migrations. An unreadable one only costs the hint.
func subfolder(fsys fs.FS, entries []fs.DirEntry) string {
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		below, _ := fs.ReadDir(fsys, e.Name())
		isMigration := func(b fs.DirEntry) bool { return !b.IsDir() && fileName.MatchString(b.Name()) }
		if slices.ContainsFunc(below, isMigration) {
			return e.Name()
		}
	}
	return ""
}

// render lets tern parse and render the files: tern stays the authority on its own format.
func render(fsys fs.FS, data map[string]any) ([]*migrate.Migration, error) {
	// Without a connection NewMigratorEx does not use the context.
	m, err := migrate.NewMigratorEx(context.Background(), nil, "public.schema_version", &migrate.MigratorOptions{})
	if err != nil {
		return nil, err
	}
	maps.Copy(m.Data, data)
	if err := m.LoadMigrations(fsys); err != nil {
		return nil, err
	}
	return m.Migrations, nil
}

// text/template's "template: NAME:LINE:COLUMN: message"; tern names a template after its file and
// section.
var templateError = regexp.MustCompile(`(?s)\Atemplate: (.+?)( up| down)?:(\d+):(?:\d+:)? ?(.*)\z`)

// renderProblem turns tern's error into a problem.
func renderProblem(err error, sources []source) Problem {
	if errors.Is(err, migrate.ErrNoFwMigration) {
		p := Problem{File: ".", Detail: "a template renders an up section without SQL", Hint: emptyHint}
		for _, s := range sources {
			if onlyComments(templateAction.ReplaceAllString(s.up.text, "")) {
				p.File, p.Line = s.name, s.up.line
			}
		}
		return p
	}
	p := Problem{
		File: ".", Detail: err.Error(),
		Hint: "migrations are Go templates: write {{\"{{\"}} for two literal braces",
	}
	match := templateError.FindStringSubmatch(err.Error())
	if match == nil {
		return p
	}
	p.File, p.Detail = match[1], match[4]
	p.Line, _ = strconv.Atoi(match[3]) // digits by the expression
	for _, s := range sources {
		switch {
		case s.name != p.File:
		case match[2] == " down":
			p.Line += s.down.line - 1
		default:
			p.Line += s.up.line - 1
		}
	}
	return p
}

const emptyHint = "add a statement, or \"select 1;\" for a migration that only has a down section"

// checkNumbers sorts the sources by number and reports the numbers that tern cannot use.
func checkNumbers(sources []source) []Problem {
	const maxNumber, hint = 99_999, "number migrations 1, 2, 3 and so on, without a gap"
	var problems []Problem
	add := func(s source, hint, detail string, args ...any) {
		problems = append(problems, Problem{File: s.name, Detail: fmt.Sprintf(detail, args...), Hint: hint})
	}
	for i := range sources {
		s := &sources[i]
		digits := fileName.FindStringSubmatch(s.name)[1]
		n, err := strconv.Atoi(digits)
		switch {
		case err == nil && n == 0:
			add(*s, "the first migration is 1", "number 0 is not possible")
		case err == nil && n <= maxNumber:
			s.number = n
		case len(strings.TrimLeft(digits, "0")) >= len("20060102"):
			add(*s, hint, "number %s looks like a timestamp", digits)
		default:
			add(*s, hint, "number %s is too large", digits)
		}
	}
	slices.SortStableFunc(sources, func(a, b source) int { return a.number - b.number })
	previous := source{}
	for _, s := range sources {
		switch {
		case s.number == 0:
			continue
		case s.number == previous.number:
			add(s, "give the newer one the next free number", "%s has the number %d too", previous.name, s.number)
		case s.number == previous.number+2:
			add(s, hint, "number %d is missing before it", s.number-1)
		case s.number > previous.number+1:
			add(s, hint, "numbers %d to %d are missing before it", previous.number+1, s.number-1)
		}
		previous = s
	}
	return problems
}
