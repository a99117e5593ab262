// Package migrations embeds the schema of the example application, a page builder, as tern
// migrations: files named 001_name.sql upwards, each with its up half above and its down half below
// tern's marker line.
//
// Replace the SQL files with your own and keep this file: whatever *.sql lies in the folder is
// embedded.
package migrations

import "embed"

// FS holds the migration files at its root. It is read-only and safe for concurrent use.
//
//go:embed *.sql
var FS embed.FS
