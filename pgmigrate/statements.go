package pgmigrate

import (
	"strings"

	"github.com/page-builder/persistence/pgmigrate/internal/sqlscan"
)

// Statement is one statement of a section.
type Statement struct {
	SQL    string // from its first token to its last; its semicolon and comments around it are left out
	Offset int    // of SQL in the section's rendered SQL, in bytes
	// Line is where SQL begins in the file, counted from 1. It is 0 if a template moved the lines,
	// and for a Migration that does not come from a folder.
	Line int
}

// Statements returns the statements of sql in order, each from its first token to its last, without
// its semicolon and without the comments around it. It finds them where PostgreSQL does, and does
// not fail: a quote without an end reaches to the end of sql.
func Statements(sql string) []string {
	found, _ := sqlscan.Split(sql)
	list := make([]string, len(found))
	for i, s := range found {
		list[i] = sql[s.Start:s.End]
	}
	return list
}

// Statements splits the rendered SQL of a section where PostgreSQL does. Only comments, white space
// and semicolons are between two statements. It never blocks.
func (m Migration) Statements(d Direction) []Statement {
	sql := m.sql(d)
	found, _ := sqlscan.Split(sql)
	statements := make([]Statement, len(found))
	lines := lineCounter{text: sql, line: m.firstLine(d)}
	for i, s := range found {
		statements[i] = Statement{SQL: sql[s.Start:s.End], Offset: s.Start, Line: lines.at(s.Start)}
	}
	return statements
}

// firstLine returns the file's line where the section begins, or 0.
func (m Migration) firstLine(d Direction) int {
	if d == DirectionDown {
		return m.downLine
	}
	return m.upLine
}

// lineCounter finds the lines of offsets that are asked for in ascending order, in one pass.
type lineCounter struct {
	text   string
	line   int // of passed; 0 stays 0: the lines are not known
	passed int
}

func (c *lineCounter) at(offset int) int {
	if c.line > 0 && offset > c.passed {
		c.line += strings.Count(c.text[c.passed:offset], "\n")
		c.passed = offset
	}
	return c.line
}

// endsTransaction reports whether the statement begins or ends a transaction.
func endsTransaction(s sqlscan.Statement) bool {
	word := func(i int) string {
		if i < len(s.Words) {
			return s.Words[i]
		}
		return ""
	}
	switch word(0) {
	case "begin", "commit", "end", "abort":
		return true
	case "start", "prepare":
		return word(1) == "transaction"
	case "rollback":
		// ROLLBACK [WORK | TRANSACTION] TO [SAVEPOINT] name
		for _, w := range s.Words[1:] {
			if w == "to" {
				return false
			}
		}
		return true
	default:
		return false
	}
}

// chains reports whether a COMMIT or ROLLBACK begins the next transaction: AND CHAIN.
func chains(s sqlscan.Statement) bool {
	n := len(s.Words)
	return endsTransaction(s) && n >= 3 && s.Words[n-1] == "chain" && s.Words[n-2] == "and"
}

// faultProblem describes what no server takes.
func faultProblem(f sqlscan.Fault) (kind ProblemKind, detail, hint string) {
	if f.Kind == sqlscan.Backslash {
		return ProblemPsql, f.Text + " is a command of psql, not SQL", "write it as SQL, or run the file with psql"
	}
	text := f.Text
	if f.Kind == sqlscan.UnclosedString || f.Kind == sqlscan.UnclosedIdentifier {
		text = text[:strings.IndexAny(text, `'"`)+1] // what is quoted may be a secret
	}
	if f.Kind == sqlscan.UnclosedDollar {
		text = text[:1+strings.IndexByte(text[1:], '$')+1]
	}
	return ProblemUnclosed, "the " + string(f.Kind) + " that begins here with " + text + " has no end", "close it"
}
