// Package gate holds what pgmigrate and pgmigrate/backfill both know about a backfill: its name and
// its row in the database.
package gate

import "regexp"

// Done is the state of a finished backfill.
const Done = "done"

// Name matches the valid names of a backfill.
var Name = regexp.MustCompile(`\A[a-z0-9][a-z0-9_-]{0,62}\z`)

// Undone is SQL that reports whether the row b of SCHEMA.backfill no longer counts: a migration
// that was applied when the backfill began has been rolled back since, with what the backfill did.
func Undone(schema string) string {
	return `exists (select from ` + schema + `.history h
  where h.version_table = b.version_table and h.action = 'down' and h.version <= b.version
    and h.started_at + coalesce(h.duration_ms, 0) * interval '1 ms' >= b.started_at)`
}
