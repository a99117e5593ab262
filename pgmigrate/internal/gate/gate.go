// Package gate holds what pgmigrate and pgmigrate/backfill both know of a backfill: its name, and
// the row that says how far it is.
package gate

import "regexp"

// Done is the state of a backfill that has reached its end.
const Done = "done"

// Name is what a backfill may be called.
var Name = regexp.MustCompile(`\A[a-z0-9][a-z0-9_-]{0,62}\z`)

// Undone is SQL that tells whether the row b of SCHEMA.backfill counts no longer: a migration that
// was there when the backfill began has been rolled back since, and with it what the backfill did.
func Undone(schema string) string {
	return `exists (select from ` + schema + `.history h
  where h.version_table = b.version_table and h.action = 'down' and h.version <= b.version
    and h.started_at + coalesce(h.duration_ms, 0) * interval '1 ms' >= b.started_at)`
}
