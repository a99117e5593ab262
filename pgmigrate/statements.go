package pgmigrate

import "strings"

// Statement is one statement of a section.
type Statement struct {
	SQL    string // from its first token to the semicolon, which is left out; comments before it too
	Offset int    // of SQL in the section's rendered SQL, in bytes
	// Of SQL in the file, counted from 1; 0 if a template moved the lines, or for a Migration made
	// by hand.
	Line int
}

// Statements splits the rendered SQL of a section as psql does: semicolons in quotes, comments and
// bodies of SQL functions do not end a statement. What lies between two statements is comments,
// white space and semicolons. It never blocks.
func (m Migration) Statements(d Direction) []Statement {
	sql := m.sql(d)
	var statements []Statement
	for _, s := range split(sql) {
		statements = append(statements, Statement{
			SQL: sql[s.offset:s.end], Offset: s.offset, Line: m.line(d, s.offset),
		})
	}
	return statements
}

// line returns the file's line of the byte at offset in the section's SQL, or 0.
func (m Migration) line(d Direction, offset int) int {
	first := m.upLine
	if d == DirectionDown {
		first = m.downLine
	}
	if first == 0 {
		return 0
	}
	return first + strings.Count(m.sql(d)[:offset], "\n")
}
