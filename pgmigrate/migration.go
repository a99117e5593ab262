package pgmigrate

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/page-builder/persistence/pgmigrate/internal/load"
	"github.com/page-builder/persistence/pgmigrate/internal/sqlscan"
)

// Direction says which section of a migration file runs.
type Direction string

// The two sections.
const (
	DirectionUp   Direction = "up"
	DirectionDown Direction = "down"
)

// Migration is one file of the folder.
type Migration struct {
	Version int32  // the file's number, and the version of a database after its up section
	Name    string // the file's name, such as 001_create_pages.sql
	Up      string // rendered SQL, including what templates filled in
	Down    string // rendered SQL; empty if the migration cannot be rolled back

	upLine, downLine int    // see load.Migration
	unstable         string // see load.Migration
}

// Reversible reports whether the down section has a statement. A comment alone undoes nothing.
func (m Migration) Reversible() bool { return len(Statements(m.Down)) > 0 }

// Transactional reports whether the section runs in a transaction: it does unless it holds the line
// "---- tern: disable-tx ----".
func (m Migration) Transactional(d Direction) bool { return load.Transactional(m.sql(d)) }

// Checksum identifies what the migration does: SHA-256, in hexadecimal, over the rendered SQL of
// both sections. CRLF counts as LF. A template that renders differently each time, as with now or
// env, is identified by its source instead.
func (m Migration) Checksum() string {
	// A NUL is not possible in SQL.
	text := m.Up + "\x00" + m.Down
	if m.unstable != "" {
		text = m.unstable
	}
	sum := sha256.Sum256([]byte(strings.ReplaceAll(text, "\r\n", "\n")))
	return hex.EncodeToString(sum[:])
}

// RequiredBackfills returns the backfills that must be done before the up section runs: those named
// in its comments "-- pgmigrate:requires-backfill NAME". tern ignores them.
func (m Migration) RequiredBackfills() []string {
	statements, _ := sqlscan.Split(m.Up)
	var names []string
	for _, d := range load.Directives(m.Up, statements) {
		if d.Requires() {
			names = append(names, d.Text)
		}
	}
	return names
}

// Statement is one statement of a section.
type Statement struct {
	SQL    string // from its first token to its last, without its semicolon and the comments around it
	Offset int    // of SQL in the section's rendered SQL, in bytes
	// Line is where SQL begins in the file, counted from 1. It is 0 if a template moved the lines,
	// and for a Migration that does not come from a folder.
	Line int
}

// Statements splits the rendered SQL of a section where PostgreSQL does. Only comments, white space
// and semicolons are between two statements.
func (m Migration) Statements(d Direction) []Statement {
	sql := m.sql(d)
	found, _ := sqlscan.Split(sql)
	statements := make([]Statement, len(found))
	lines := m.lines(d)
	for i, s := range found {
		statements[i] = Statement{SQL: sql[s.Start:s.End], Offset: s.Start, Line: lines.At(s.Start)}
	}
	return statements
}

// Statements returns the statements of sql in order, without their semicolons and the comments
// around them. It splits where PostgreSQL does and does not fail: a quote without an end reaches to
// the end of sql.
func Statements(sql string) []string {
	found, _ := sqlscan.Split(sql)
	list := make([]string, len(found))
	for i, s := range found {
		list[i] = sql[s.Start:s.End]
	}
	return list
}

func (m Migration) sql(d Direction) string {
	if d == DirectionDown {
		return m.Down
	}
	return m.Up
}

// lines counts the file's lines from the start of the section.
func (m Migration) lines(d Direction) sqlscan.Lines {
	if d == DirectionDown {
		return sqlscan.Lines{Text: m.Down, Line: m.downLine}
	}
	return sqlscan.Lines{Text: m.Up, Line: m.upLine}
}
