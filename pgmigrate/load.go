package pgmigrate

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/tern/v2/migrate"
)

// loadedMigration is a migration with what is needed to find a statement's line in its file.
type loadedMigration struct {
	Migration
	up, down section
}

func (m *loadedMigration) section(d Direction) section {
	if d == DirectionDown {
		return m.down
	}
	return m.up
}

// loadMigrations lets tern parse and render the files: tern stays the authority on its own format.
// numbered says that the numbers are in order, so that the folder can be loaded as a whole.
func loadMigrations(
	fsys fs.FS, files []numberedFile, data map[string]any, numbered bool,
) ([]loadedMigration, []Problem) {
	var problems []Problem
	sources := make([]source, len(files))
	for i, f := range files {
		body, err := fs.ReadFile(fsys, f.name)
		if err != nil {
			problems = append(problems, Problem{Kind: ProblemUnreadable, File: f.name, Detail: err.Error()})
			continue
		}
		sources[i] = newSource(f.name, string(body))
		problems = append(problems, sources[i].check()...)
	}

	if numbered && !faulty(problems) {
		// The fast way. Its errors do not name the file, so they only lead to the slow way.
		if rendered, err := ternLoad(fsys, data); err == nil && len(rendered) == len(files) {
			loaded := make([]loadedMigration, len(files))
			for i, r := range rendered {
				loaded[i] = sources[i].loaded(int32(i+1), r)
				problems = append(problems, sources[i].checkRendered(r, data)...)
			}
			return loaded, problems
		}
	}

	// File by file, so that every problem is found and has a name.
	for i, f := range files {
		if sources[i].name == "" {
			continue // unreadable, reported above
		}
		rendered, err := ternLoad(&isolatedFS{FS: fsys, name: f.name}, data)
		switch {
		case err != nil:
			problems = append(problems, sources[i].loadProblem(err))
		case len(rendered) == 1:
			problems = append(problems, sources[i].checkRendered(rendered[0], data)...)
		}
	}
	if numbered && !faulty(problems) {
		problems = append(problems,
			Problem{
				Kind: ProblemUnreadable, File: ".", Detail: "the folder changed while it was read", Hint: "try again",
			})
	}
	return nil, problems
}

func ternLoad(fsys fs.FS, data map[string]any) ([]*migrate.Migration, error) {
	// Without a connection NewMigratorEx has nothing to wait for: the context is not used.
	m, err := migrate.NewMigratorEx(context.Background(), nil, DefaultVersionTable, &migrate.MigratorOptions{})
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

// loadProblem turns tern's error for one isolated file into a problem.
func (s source) loadProblem(err error) Problem {
	if errors.Is(err, migrate.ErrNoFwMigration) {
		return Problem{
			Kind: ProblemEmptyUp, File: s.name, Line: s.up.line, Detail: "the up section has no SQL",
			Hint: "add a statement, or \"select 1;\" for a migration that only has a down section",
		}
	}
	p := Problem{
		Kind: ProblemTemplate, File: s.name, Detail: err.Error(),
		Hint: "migrations are Go templates: write {{\"{{\"}} for two braces that are none",
	}
	if match := templateError.FindStringSubmatch(err.Error()); match != nil {
		line, _ := strconv.Atoi(match[3]) // digits by the expression
		p.Detail = match[4]
		switch {
		case match[1] != isolatedName:
			p.File, p.Line = match[1], line // a shared template in a subfolder
		case match[2] == " down":
			p.Line = s.down.line + line - 1
		default:
			p.Line = s.up.line + line - 1
		}
	}
	p.Detail = strings.ReplaceAll(p.Detail, isolatedName, s.name)
	return p
}

// isolatedName has to look like tern's first migration.
const isolatedName = "1_isolated-by-pgmigrate.sql"

// isolatedFS shows one file of a folder, under isolatedName, and all subfolders.
type isolatedFS struct {
	fs.FS
	name string
}

func (f *isolatedFS) Open(name string) (fs.File, error) {
	if name == isolatedName {
		name = f.name
	}
	return f.FS.Open(name)
}

func (f *isolatedFS) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(f.FS, name)
	if err != nil || name != "." {
		return entries, err
	}
	var shown []fs.DirEntry
	for _, e := range entries {
		switch {
		case e.IsDir():
			shown = append(shown, e)
		case e.Name() == f.name:
			shown = append(shown, isolatedEntry{e})
		}
	}
	return shown, nil
}

type isolatedEntry struct{ fs.DirEntry }

func (isolatedEntry) Name() string { return isolatedName }
