// Package drift reports whether a database still matches its migrations.
//
// It applies the migrations up to the live database's version to a shadow database, and compares
// the two. It only reads the live database, in read-only sessions.
package drift

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/dev/schema"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

// Options says how the live database was migrated and where to put its shadow. The zero value suits
// a database with pgmigrate's defaults.
type Options struct {
	// VersionTable and HistorySchema are pgmigrate's, with its defaults.
	VersionTable, HistorySchema string

	// Data are values for migrations that are templates.
	Data map[string]any

	// Repeatable are the repeatable migrations, which run after the folder's. Nil means none.
	Repeatable fs.FS

	// IgnoreRoles are roles to ignore: grants to them and their ownership of objects are not drift.
	IgnoreRoles []string

	// IgnoreSchemas and IgnoreTables are not compared; see [schema.Options].
	IgnoreSchemas, IgnoreTables []string

	// Shadow is where the shadow database goes and what is created in it before the migrations. Its
	// Migrations, Version, Migrate and Live are ignored.
	Shadow shadow.Options
}

// Report is the result of Check.
type Report struct {
	Version int32 // that both databases are at

	// Difference is between the live database, its from, and the shadow.
	Difference *schema.Difference

	// Plan has the statements that make the live database match its migrations again. Read its
	// hazards first.
	Plan schema.Plan

	// Notes say what was not compared, and why.
	Notes []string
}

// Drifted reports whether the live database differs from its migrations.
func (r *Report) Drifted() bool { return !r.Difference.Empty() }

// ErrNotMigrated is returned for a database without a version table.
var ErrNotMigrated = errors.New("the database has no version table: it was never migrated; if it has the schema " +
	"already, record that with pgmigrate baseline")

// Check compares the live database with the migrations of folder. It blocks for as long as the
// migrations take on an empty database, and a second or so per hundred tables.
//
// Check compares owners and grants. Roles that have run migrations on the live database, and the
// owner of the version table, count as the migrator, whatever their names are there and on the
// shadow. Objects that another role owns, and grants to it, are drift unless the migrations make
// them too, or the role is one of IgnoreRoles.
//
// Owner, grants and comment of the schema public count only if the migrations change them. The
// version of an extension does not count.
func Check(ctx context.Context, live *pgx.ConnConfig, folder fs.FS, opts Options) (*Report, error) {
	migrate := opts.migrate()
	m, err := pgmigrate.New(live, folder, migrate...)
	if err != nil {
		return nil, err
	}
	status, err := m.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("drift: %w", err)
	}
	r := &Report{Version: status.Version}
	if err := r.accept(status); err != nil {
		return nil, fmt.Errorf("drift: %w", err)
	}

	options := opts.Shadow
	options.Migrations, options.Version, options.Migrate, options.Live = nil, status.Version, migrate, live
	if status.Version > 0 {
		options.Migrations = folder
	}
	db, err := shadow.Open(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("drift: %w", err)
	}
	defer db.Close() // the next shadow sweeps leftovers
	if note := db.Note(); note != "" {
		r.Notes = append(r.Notes, note)
	}

	var migrators []string
	for _, s := range status.Migrations {
		if s.Role != "" {
			migrators = append(migrators, s.Role)
		}
	}
	r.Difference, err = schema.Compare(ctx, schema.Database{Config: live, Migrators: migrators},
		schema.Database{Config: db.Config()},
		schema.Options{
			VersionTable: opts.VersionTable, HistorySchema: opts.HistorySchema, IgnoreRoles: opts.IgnoreRoles,
			IgnoreSchemas: opts.IgnoreSchemas, IgnoreTables: opts.IgnoreTables,
			Scratch: func(ctx context.Context) (schema.Scratch, error) { return db.Empty(ctx) },
		})
	if err != nil {
		return nil, fmt.Errorf("drift: %w", err)
	}
	if err := r.unmoved(ctx, m); err != nil {
		return nil, err
	}
	r.Plan = r.Difference.Plan()
	r.Notes = append(r.Notes, r.Difference.Notes...)
	return r, nil
}

func (o Options) migrate() []pgmigrate.Option {
	list := []pgmigrate.Option{
		pgmigrate.WithLogger(nil), pgmigrate.WithData(o.Data),
		pgmigrate.WithRepeatable(o.Repeatable),
	}
	if o.VersionTable != "" {
		list = append(list, pgmigrate.WithVersionTable(o.VersionTable))
	}
	if o.HistorySchema != "" {
		list = append(list, pgmigrate.WithHistorySchema(o.HistorySchema))
	}
	return list
}

// accept refuses a database between two versions, or at a version that the folder does not have.
func (r *Report) accept(s pgmigrate.Status) error {
	switch {
	case !s.Tracked:
		return ErrNotMigrated
	case s.Ahead():
		return fmt.Errorf("the database is at version %d, and the folder ends at %d: use the folder that it was "+
			"migrated with", s.Version, s.Latest)
	case s.Running != nil:
		return fmt.Errorf("%s is being applied at the moment: try again when it is done", s.Running.Name)
	case s.Dirty != nil:
		return fmt.Errorf("%s was interrupted: pgmigrate up, or pgmigrate resolve, comes first", s.Dirty.Name)
	}
	if n := s.Pending(); n > 0 {
		r.Notes = append(r.Notes,
			fmt.Sprintf("compared at version %d: the folder has %d more, which the database has not", s.Version, n))
	}
	for _, m := range s.Migrations {
		if m.Edited {
			r.Notes = append(r.Notes,
				fmt.Sprintf("%s was edited after it was applied: the shadow has it as it is now", m.Name))
		}
	}
	return nil
}

// unmoved returns an error if the live database was migrated during the comparison.
func (r *Report) unmoved(ctx context.Context, m *pgmigrate.Migrator) error {
	s, err := m.Status(ctx)
	if err != nil {
		return fmt.Errorf("drift: %w", err)
	}
	if s.Version != r.Version || s.Running != nil {
		return fmt.Errorf("drift: the database was migrated in the meantime, from version %d to %d: try again",
			r.Version, s.Version)
	}
	return nil
}
