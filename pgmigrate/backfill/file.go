package backfill

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/page-builder/persistence/pgmigrate/internal/gate"
	"github.com/page-builder/persistence/pgmigrate/internal/sqlscan"
)

// Backfill is one file of the folder.
type Backfill struct {
	Name      string   // the file's name without .sql
	Table     string   // schema.table as it is written
	Key       []string // columns of a unique index, as they are written
	Statement string   // of each batch
	Verify    string   // returns the number of wrong rows; may be empty
	Finish    string   // runs once at the end; may be empty
}

// Checksum identifies what the backfill does to rows: SHA-256, in hexadecimal, of table, key and
// statement.
func (b Backfill) Checksum() string {
	h := sha256.New()
	for _, part := range append([]string{b.Table, b.Statement}, b.Key...) {
		part = strings.ReplaceAll(part, "\r\n", "\n")
		fmt.Fprintf(h, "%d:%s\n", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// source names the table and key to which the bounds of ranges belong.
func (b Backfill) source() string { return b.Table + ", key " + strings.Join(b.Key, ",") }

// Check reads and checks the backfills in fsys and returns them by name. Backfills are the files
// NAME.sql at the top of fsys; others are ignored. The error names all that is wrong, with file and
// line. It is made for a unit test of the folder.
func Check(fsys fs.FS) ([]Backfill, error) {
	if fsys == nil {
		return nil, errors.New("backfills: the file system is nil: pass an embed.FS or os.DirFS")
	}
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("backfills: %w", err)
	}
	var backfills []Backfill
	var problems []error
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(strings.ToLower(e.Name()), ".sql") {
			continue
		}
		text, err := fs.ReadFile(fsys, e.Name())
		if err != nil {
			return nil, fmt.Errorf("backfills: %w", err)
		}
		b, err := parse(e.Name(), string(text))
		if err != nil {
			problems = append(problems, err)
		}
		backfills = append(backfills, b)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	slices.SortFunc(backfills, func(a, b Backfill) int { return strings.Compare(a.Name, b.Name) })
	return backfills, nil
}

var (
	header = regexp.MustCompile(`\A--[ \t]*pgmigrate:backfill[ \t]+table=(.+?)[ \t]+key=(.+?)\s*\z`)
	marker = regexp.MustCompile(`\A--[ \t]*pgmigrate:(verify|finish)\s*\z`)
	almost = regexp.MustCompile(`(?i)\A(?:--|/\*)\W*pg[-_]?migrate\s*:`)
)

// parse finds the three sections by their comments. A section has one statement.
func parse(file, text string) (Backfill, error) {
	p := parser{file: file, text: text, statements: map[string]string{}}
	b := Backfill{Name: strings.TrimSuffix(file, ".sql")}
	switch {
	case !gate.Name.MatchString(b.Name):
		return b, p.errorf(0, "name the file with lower-case letters, digits, - and _ before .sql")
	case strings.HasPrefix(text, "\ufeff"):
		return b, p.errorf(0, "the file begins with a byte order mark: save it as UTF-8 without BOM")
	case !utf8.ValidString(text), strings.Contains(text, "\x00"):
		return b, p.errorf(0, "the file is not UTF-8 text")
	}
	statements, faults := sqlscan.Split(text)
	if len(faults) > 0 {
		return b, p.errorf(faults[0].Offset, "the %s that begins here has no end or is no SQL", faults[0].Kind)
	}
	for l := (sqlscan.Lexer{SQL: text}); l.Next(); {
		if l.Kind != sqlscan.Comment {
			continue
		}
		if err := p.comment(&b, l.Text(), l.Start, statements); err != nil {
			return b, err
		}
	}
	if b.Table == "" {
		return b, p.errorf(0, "the first line has to be: -- pgmigrate:backfill table=schema.table key=column")
	}
	for _, s := range statements {
		if err := p.statement(s); err != nil {
			return b, err
		}
	}
	b.Statement, b.Verify, b.Finish = p.statements["backfill"], p.statements["verify"], p.statements["finish"]
	for _, section := range p.sections {
		if p.statements[section.name] == "" {
			return b, p.errorf(section.at, "%s has no statement", section.name)
		}
	}
	return b, p.checkArguments(&b)
}

type parser struct {
	file, text string
	sections   []fileSection
	statements map[string]string // by section
}

type fileSection struct {
	name string
	at   int // in bytes
}

func (p *parser) errorf(offset int, format string, args ...any) error {
	return fmt.Errorf("backfills: %s:%d: "+format,
		append([]any{p.file, 1 + strings.Count(p.text[:offset], "\n")}, args...)...)
}

// comment takes a comment that begins a section.
func (p *parser) comment(b *Backfill, text string, at int, statements []sqlscan.Statement) error {
	name := ""
	if match := header.FindStringSubmatch(text); match != nil {
		name, b.Table, b.Key = "backfill", match[1], splitKey(match[2])
	} else if match := marker.FindStringSubmatch(text); match != nil {
		name = match[1]
	}
	switch inside := slices.ContainsFunc(statements, func(s sqlscan.Statement) bool {
		return s.Start < at && at < s.End
	}); {
	case name == "" && !almost.MatchString(text):
		return nil
	case name == "":
		return p.errorf(at, "the comment is no section: write -- pgmigrate:backfill table=schema.table key=column, "+
			"-- pgmigrate:verify or -- pgmigrate:finish")
	case inside:
		return p.errorf(at, "the section begins inside a statement: end that with a semicolon")
	case (name == "backfill") != (len(p.sections) == 0):
		return p.errorf(at, "the section backfill comes first, and once")
	case slices.ContainsFunc(p.sections, func(s fileSection) bool { return s.name == name }):
		return p.errorf(at, "there are two sections %s", name)
	}
	p.sections = append(p.sections, fileSection{name, at})
	return nil
}

// A name without a schema would mean another table to each role.
var qualifiedName = regexp.MustCompile(`\A(?:"(?:[^"]|"")+"|[^".,;()'\s]+)\.(?:"(?:[^"]|"")+"|[^".,;()'\s]+)\z`)

var keyColumn = regexp.MustCompile(`\A\s*("(?:[^"]|"")+"|[^".,;()'\s]+)\s*(,|\z)`)

// splitKey returns the columns as they are written. What is no list of columns becomes an empty
// one.
func splitKey(text string) (columns []string) {
	for {
		match := keyColumn.FindStringSubmatch(text)
		if match == nil {
			return append(columns, "")
		}
		columns = append(columns, match[1])
		if match[2] == "" {
			return columns
		}
		text = text[len(match[0]):]
	}
}

// statement gives a statement to the section that it stands in.
func (p *parser) statement(s sqlscan.Statement) error {
	name := ""
	for _, section := range p.sections {
		if section.at < s.Start {
			name = section.name
		}
	}
	word := ""
	if len(s.Words) > 0 {
		word = s.Words[0]
	}
	switch {
	case name == "":
		return p.errorf(s.Start, "a statement before the first section")
	case p.statements[name] != "":
		return p.errorf(s.Start, "%s has a second statement: write one, with WITH if need be", name)
	case s.CopyData, slices.Contains(notInBatch, word):
		return p.errorf(s.Start, "%s cannot run in the transaction of a backfill", strings.ToUpper(word))
	}
	p.statements[name] = p.text[s.Start:s.End]
	return nil
}

var notInBatch = []string{
	"begin", "start", "commit", "end", "rollback", "abort", "prepare", "savepoint", "release", "vacuum", "copy", "set",
	"reset", "discard", "listen",
}

// An operator < or > before a bound, or behind it. The bound may be the first or last of a row.
var (
	strictlyBefore = regexp.MustCompile(`[^-+*/<>=~!@#%^&|?][<>]\s*(?:(?i:row\s*)?\(\s*)?\z`)
	strictlyBehind = regexp.MustCompile(`\A(?:\s*::\s*[\w.]+)?\s*\)?\s*[<>](?:[^-+*/<>=~!@#%^&|?]|\z)`)
)

// checkArguments wants all bounds in the batch's statement: without them it would change the whole
// table with each batch.
func (p *parser) checkArguments(b *Backfill) error {
	if !qualifiedName.MatchString(b.Table) {
		return p.errorf(0, "table %s: write schema.table", b.Table)
	}
	for i, column := range b.Key {
		if column == "" || slices.Contains(b.Key[:i], column) {
			return p.errorf(0, "the key: write key=column or key=column,column with each column once")
		}
	}
	for name, want := range map[string]int{"backfill": 2 * len(b.Key), "verify": 0, "finish": 0} {
		used := map[string]bool{}
		dollar := -1 // where a dollar sign has just ended
		for l := (sqlscan.Lexer{SQL: p.statements[name]}); l.Next(); {
			if l.Kind == sqlscan.Number && l.Start == dollar {
				used[l.Text()] = true
				if strictlyBefore.MatchString(l.SQL[:dollar-1]) || strictlyBehind.MatchString(l.SQL[l.End:]) {
					return p.errorf(0, "the statement leaves out the key $%s, which belongs to its batch alone: write "+
						"between, or >= and <=", l.Text())
				}
			}
			dollar = -1
			if l.Is('$') {
				dollar = l.End
			}
		}
		for n := range want {
			if !used[fmt.Sprint(n+1)] {
				return p.errorf(0, "the statement does not use $%d: $1 to $%d are the first key of a batch, $%d to "+
					"$%d the last", n+1, len(b.Key), len(b.Key)+1, want)
			}
		}
		if len(used) > want {
			return p.errorf(0, "%s uses more than %d arguments", name, want)
		}
	}
	return nil
}
