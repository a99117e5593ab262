// Package gate holds what pgmigrate and pgmigrate/backfill both know of a backfill: the line by
// which a migration requires it, and the row that says how far it is.
package gate

import (
	"regexp"

	"github.com/page-builder/persistence/pgmigrate/internal/sqlscan"
)

// Done is the state of a backfill that has reached its end.
const Done = "done"

// Name is what a backfill may be called.
var Name = regexp.MustCompile(`\A[a-z0-9][a-z0-9_-]{0,62}\z`)

var (
	marker = regexp.MustCompile(`\A--[ \t]*pgmigrate:requires-backfill[ \t]+([a-z0-9][a-z0-9_-]{0,62})\s*\z`)
	almost = regexp.MustCompile(`(?i)\A(?:--|/\*)\W*pg[-_]?migrate\s*:\s*requires?\b`)
)

// Required returns the backfills that comments of a section require, in order. faulty holds the
// offsets of comments that are meant to and do not.
func Required(sql string) (names []string, faulty []int) {
	l := sqlscan.Lexer{SQL: sql}
	for l.Next() {
		if l.Kind != sqlscan.Comment {
			continue
		}
		if match := marker.FindStringSubmatch(l.Text()); match != nil {
			names = append(names, match[1])
		} else if almost.MatchString(l.Text()) {
			faulty = append(faulty, l.Start)
		}
	}
	return names, faulty
}

// Undone is SQL that tells whether the row b of SCHEMA.backfill counts no longer: a migration that
// was there when the backfill began has been rolled back since, and with it what the backfill did.
func Undone(schema string) string {
	return `exists (select from ` + schema + `.history h
  where h.version_table = b.version_table and h.action = 'down' and h.version <= b.version
    and h.started_at + coalesce(h.duration_ms, 0) * interval '1 ms' >= b.started_at)`
}
