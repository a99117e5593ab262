// Package migrate holds the Mage targets for migrations. Import it as `//mage:import migrate`.
package migrate

import (
	"strconv"

	"github.com/page-builder/persistence/pgmage/internal/tool"
)

// Up applies all pending migrations.
func Up() error { return tool.Migrate.RunOnDatabase("up") }

// To migrates up or down to a version.
func To(version string) error { return tool.Migrate.RunOnDatabase("to", version) }

// Down rolls back the last migration, or the last ones with -steps=N.
func Down(steps *int) error {
	if steps == nil {
		return tool.Migrate.RunOnDatabase("down")
	}
	return tool.Migrate.RunOnDatabase("down", "--steps", strconv.Itoa(*steps))
}

// Redo rolls back the last migration and applies it again.
func Redo() error { return tool.Migrate.RunOnDatabase("redo") }

// Reset rolls back all migrations and applies them again. It refuses a database that is not on this
// machine.
func Reset() error { return tool.Migrate.RunOnDatabase("reset") }

// Status lists the migrations, applied and pending.
func Status() error { return tool.Migrate.RunOnDatabase("status") }

// Plan prints the SQL that migrate would run. It changes nothing.
func Plan() error { return tool.Migrate.RunOnDatabase("plan") }

// History lists what was run on the database, when, by whom and how it ended.
func History() error { return tool.Migrate.RunOnDatabase("history") }

// Wait blocks until the database is at the newest migration.
func Wait() error { return tool.Migrate.RunOnDatabase("wait") }

// Backfill runs the backfills in the folder backfills to their end, on as many connections as
// -workers=N says, or says where they stand with -status.
func Backfill(status *bool, workers *int) error {
	switch {
	case status != nil && *status:
		return tool.Migrate.RunOnDatabase("backfill", "status")
	case workers != nil:
		return tool.Migrate.RunOnDatabase("backfill", "run", "--workers", strconv.Itoa(*workers))
	}
	return tool.Migrate.RunOnDatabase("backfill", "run")
}

// Baseline records that a database which has the schema already is at a version. It runs nothing.
func Baseline(version string) error { return tool.Migrate.RunOnDatabase("baseline", version) }

// Resolve records how an interrupted migration ended: outcome is applied or rolled-back.
func Resolve(version, outcome string) error {
	return tool.Migrate.RunOnDatabase("resolve", version, "--"+outcome)
}

// New makes an empty migration file, without a database. With -expand=rename or type, -table and
// -column it writes the files that change the column while the service runs, with -to or -type;
// -contract ends that.
//
//nolint:gocritic // mage names the flag -type after the parameter
func New(name string, expand, table, column, to, Type, using, back *string, contract *bool) error {
	args := []string{"new", name}
	if contract != nil && *contract {
		args = append(args, "--contract")
	}
	for _, flag := range []struct {
		name  string
		value *string
	}{
		{"expand", expand},
		{"table", table},
		{"column", column},
		{"to", to},
		{"type", Type},
		{"using", using},
		{"back", back},
	} {
		if flag.value != nil {
			args = append(args, "--"+flag.name, *flag.value)
		}
	}
	if expand != nil {
		return tool.Migrate.RunOnDatabase(args...)
	}
	return tool.Migrate.Run(args...)
}

// Import converts the migrations of another tool in a folder to files in a new folder, such as
// migrations. It needs no database.
func Import(folder, to string) error { return tool.Migrate.Run("import", folder, "--dir", to) }

// Lint judges the pending migrations, or the newest, by what they do to a shadow database.
func Lint() error { return tool.Develop.Run("lint") }

// Diff writes the migration that leads to schema.sql, the schema as it should be.
func Diff(name string) error { return tool.Develop.Run("diff", name) }

// Drift tells whether the database still has the schema that its migrations make.
func Drift() error { return tool.Develop.RunOnDatabase("drift") }

// Pull writes schema.sql from the database.
func Pull() error { return tool.Develop.RunOnDatabase("pull") }
