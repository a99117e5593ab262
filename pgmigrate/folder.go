package pgmigrate

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// folder is a migrations folder that has been read and checked.
type folder struct {
	migrations []loadedMigration // migrations[i] has version i+1
	repeatable []*script
	warnings   []Problem
}

func (f *folder) latest() int32 { return int32(len(f.migrations)) }

func (f *folder) list() []Migration {
	list := make([]Migration, len(f.migrations))
	for i, m := range f.migrations {
		list[i] = m.Migration
	}
	return list
}

// maxNumber is far above any folder and far below what tern's slice of that length would cost.
const maxNumber = 99_999

var (
	fileName = regexp.MustCompile(`\A(\d+)_.+\.sql\z`) // tern's
	// A name with a hyphen or a capital extension is passed over by tern without a word.
	sqlFile = regexp.MustCompile(`(?i)\.sql\z`)
)

// numberedFile is a file that tern takes for a migration.
type numberedFile struct {
	name   string
	digits string
	number int64 // 0 if it is not usable
}

// loadFolder reads and checks fsys. The numbers are checked before tern sees the folder: it panics
// on 0, and it allocates a slice as long as the largest number.
func loadFolder(fsys fs.FS, s settings) (*folder, error) {
	if fsys == nil {
		return nil, &FolderError{Problems: []Problem{{
			Kind: ProblemUnreadable, File: ".", Detail: "the file system is nil", Hint: "pass an embed.FS or os.DirFS",
		}}}
	}
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, &FolderError{Problems: []Problem{{
			Kind: ProblemUnreadable, File: ".", Detail: err.Error(), Hint: "does the folder exist?",
		}}}
	}

	if problems := foreignFiles(fsys, entries); len(problems) > 0 {
		return nil, &FolderError{Problems: problems}
	}

	f := &folder{}
	var files []numberedFile
	for _, e := range entries {
		if e.IsDir() || !sqlFile.MatchString(e.Name()) {
			continue
		}
		match := fileName.FindStringSubmatch(e.Name())
		if match == nil {
			f.warnings = append(f.warnings, Problem{
				Kind: ProblemIgnored, File: e.Name(), Detail: "the file is ignored",
				Hint: "a migration is named NUMBER_NAME.sql, such as 001_create_pages.sql", Warning: true,
			})
			continue
		}
		files = append(files, numberedFile{name: e.Name(), digits: match[1]})
	}
	if len(files) == 0 {
		p := Problem{
			Kind: ProblemNoMigrations, File: ".", Detail: "no migrations found",
			Hint: "a migration is named NUMBER_NAME.sql, such as 001_create_pages.sql, at the top of the folder",
		}
		// With embed.FS the files are below the embedded folder's name: the most common way to
		// arrive here.
		if subs := foldersWithMigrations(fsys, entries); len(subs) > 0 {
			p.Hint = fmt.Sprintf("there are some in the subfolder %q: pass fs.Sub(fsys, %q)", subs[0], subs[0])
		}
		return nil, &FolderError{Problems: []Problem{p}}
	}

	problems := checkNumbers(files)
	migrations, more := loadMigrations(fsys, files, s.data, len(problems) == 0)
	problems = append(append(problems, more...), f.warnings...)
	problems = append(problems, f.loadRepeatable(s.repeatable)...)
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Detail, b.Detail))
	})
	problems = slices.Compact(problems)
	if faulty(problems) || s.strict && len(problems) > 0 {
		return nil, &FolderError{Problems: problems}
	}
	f.migrations, f.warnings = migrations, problems
	return f, nil
}

// faulty reports whether more than warnings are among the problems.
func faulty(problems []Problem) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return !p.Warning })
}

func foldersWithMigrations(fsys fs.FS, entries []fs.DirEntry) []string {
	var found []string
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		// An unreadable subfolder only costs the hint.
		below, _ := fs.ReadDir(fsys, e.Name())
		if slices.ContainsFunc(below, func(b fs.DirEntry) bool {
			return !b.IsDir() && fileName.MatchString(path.Base(b.Name()))
		}) {
			found = append(found, e.Name())
		}
	}
	return found
}

// checkNumbers sorts files by number, fills the numbers in and reports which ones tern cannot count
// with.
func checkNumbers(files []numberedFile) []Problem {
	var problems []Problem
	for i := range files {
		f := &files[i]
		n, err := strconv.ParseInt(f.digits, 10, 64)
		switch {
		case err == nil && n == 0:
			problems = append(problems, Problem{
				Kind: ProblemNumberZero, File: f.name, Detail: "number 0 is not possible",
				Hint: "the first migration is 1",
			})
		case err != nil || n > maxNumber:
			detail := fmt.Sprintf("number %s is too large", f.digits)
			if len(strings.TrimLeft(f.digits, "0")) >= len("20060102") {
				detail = fmt.Sprintf("number %s looks like a timestamp", f.digits)
			}
			problems = append(problems, Problem{
				Kind: ProblemNumberLarge, File: f.name, Detail: detail,
				Hint: "number migrations 1, 2, 3 and so on, without a gap",
			})
		default:
			f.number = n
		}
	}
	slices.SortStableFunc(files, func(a, b numberedFile) int { return cmp.Compare(a.number, b.number) })

	previous := numberedFile{}
	for _, f := range files {
		switch {
		case f.number == 0:
			continue
		case f.number == previous.number:
			problems = append(problems, Problem{
				Kind: ProblemDuplicate, File: f.name,
				Detail: fmt.Sprintf("number %d is also that of %s", f.number, previous.name),
				Hint:   "give the newer one the next free number",
			})
		case f.number > previous.number+1:
			missing := fmt.Sprintf("number %d is missing", previous.number+1)
			if f.number > previous.number+2 {
				missing = fmt.Sprintf("numbers %d to %d are missing", previous.number+1, f.number-1)
			}
			problems = append(problems, Problem{
				Kind: ProblemGap, File: f.name, Detail: missing + " before it",
				Hint: "number migrations 1, 2, 3 and so on, without a gap",
			})
		}
		previous = f
	}
	return problems
}
