package pgmigrate

import (
	"regexp"

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
	Up      string // rendered SQL; whatever templates filled in is part of it
	Down    string // rendered SQL; empty if the migration cannot be rolled back

	// The source of a template that renders differently each time; "" for others.
	unstable string

	upLine, downLine int // of the file, where the sections begin; 0 if a template moved the lines
}

// Reversible reports whether the down section has a statement. A comment alone undoes nothing.
func (m Migration) Reversible() bool { return hasStatement(m.Down) }

// hasStatement reports whether sql is more than comments, white space and semicolons.
func hasStatement(sql string) bool {
	list, _ := sqlscan.Split(sql)
	return len(list) > 0
}

// Transactional reports whether tern runs the section in a transaction: it does unless the section
// holds the line "---- tern: disable-tx ----".
func (m Migration) Transactional(d Direction) bool { return !disableTx.MatchString(m.sql(d)) }

func (m Migration) sql(d Direction) string {
	if d == DirectionDown {
		return m.Down
	}
	return m.Up
}

const (
	disableTxMarker = "---- tern: disable-tx ----"
	sectionMarker   = "---- create above / drop below ----"
)

// The same expression as tern's: in multi-line mode $ stands before \n only, which is why CRLF
// hides the marker.
var disableTx = regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(disableTxMarker) + `$`)
