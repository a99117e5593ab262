package pgmigrate

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/page-builder/persistence/pgmigrate/internal/load"
)

// Problem is one thing in a migrations folder that cannot run, or that tern would run differently
// from what the file says.
type Problem struct {
	File   string // path inside the folder; "." for the folder itself
	Line   int    // counted from 1; 0 if the problem is not in one line
	Detail string // what is wrong
	Hint   string // what to do

	// Warning says that the folder can run. Only [WithStrict] makes the problem an error.
	Warning bool
}

func (p Problem) String() string {
	place := p.File
	if p.Line > 0 {
		place = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	if p.Hint == "" {
		return place + ": " + p.Detail
	}
	return place + ": " + p.Detail + ": " + p.Hint
}

// FolderError reports everything that is wrong with a migrations folder. Templates are rendered
// only if nothing else is wrong, and the first faulty one is reported.
type FolderError struct {
	Problems []Problem // sorted by file and line; never empty; warnings are included
}

func (e *FolderError) Error() string {
	if len(e.Problems) == 1 {
		return "check migrations: " + e.Problems[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "check migrations: %d problems:", len(e.Problems))
	for _, p := range e.Problems {
		b.WriteString("\n  ")
		b.WriteString(p.String())
	}
	return b.String()
}

// folder is a migrations folder that has been read and checked.
type folder struct {
	migrations []Migration // migrations[i] has version i+1
	repeatable []*script
	warnings   []Problem
}

func (f *folder) latest() int32 { return int32(len(f.migrations)) }

// migration returns the migration of a version, which the folder must have.
func (f *folder) migration(version int32) *Migration { return &f.migrations[version-1] }

func loadFolder(fsys fs.FS, s settings) (*folder, error) {
	if fsys == nil {
		return nil, &FolderError{[]Problem{{
			File: ".", Detail: "the file system is nil", Hint: "pass an embed.FS or os.DirFS",
		}}}
	}
	migrations, found := load.Folder(fsys, s.data)
	f := &folder{}
	if s.repeatable != nil {
		scripts, problems, err := load.Scripts(s.repeatable, ".")
		if err != nil {
			problems = append(problems, load.Problem{Detail: err.Error()})
		}
		for _, p := range problems {
			p.File = repeatablePrefix + p.File
			found = append(found, p)
		}
		for _, script := range scripts {
			f.repeatable = append(f.repeatable, newScript(script, repeatablePrefix+script.Path))
		}
	}
	for _, p := range found {
		f.warnings = append(f.warnings, Problem(p))
	}
	slices.SortStableFunc(f.warnings, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Detail, b.Detail))
	})
	f.warnings = slices.Compact(f.warnings)
	if load.Faulty(found) || s.strict && len(found) > 0 {
		return nil, &FolderError{f.warnings}
	}
	for _, m := range migrations {
		f.migrations = append(f.migrations, Migration{
			Version: m.Version, Name: m.Name, Up: m.Up, Down: m.Down,
			upLine: m.UpLine, downLine: m.DownLine, unstable: m.Unstable,
		})
	}
	return f, nil
}
