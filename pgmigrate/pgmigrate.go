// Package pgmigrate applies tern migrations to a PostgreSQL database that is in use.
//
//	m, err := pgmigrate.New(connConfig, os.DirFS("migrations"))
//	...
//	result, err := m.Up(ctx)
//
// The file format is that of github.com/jackc/tern/v2: numbered SQL files, an up and a down
// section, one row in a version table. This package runs the statements itself. Both tools work on
// the same folder and may take turns on one database. This package adds:
//
//   - [New] checks the whole folder before it touches a database and reports problems with file and
//     line.
//   - Instances that start at the same time wait for each other without holding a snapshot, so
//     CREATE INDEX CONCURRENTLY succeeds with any number of them.
//   - A migration that cannot get a table lock gives up after the lock timeout and tries again. The
//     application's queries never queue behind it for longer than that.
//   - A database that is ahead of the folder is not an error: older instances keep starting during
//     a rolling deployment.
//   - An error names the file, the line, the SQLSTATE and the state of the database.
//   - A query may check the data before a migration ([CheckError]). Views, functions and grants run
//     again when their files change ([WithRepeatable]).
//   - A history, in its own schema, records who applied each migration and when. It reveals edited
//     files and interrupted sections.
//
// Errors that a person must act on have types: *[FolderError] before anything is touched,
// *[MigrationError] for a failed migration, *[DirtyError] and *[EditedError] for a decision.
//
// Use a direct connection. Session locks do not work through PgBouncer in transaction mode.
package pgmigrate

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Migrator applies the migrations of one folder to one database. It holds no connection: every
// method opens one and closes it before it returns. It is safe for concurrent use; concurrent runs
// wait for each other on the database's migration lock.
type Migrator struct {
	conn     *pgx.ConnConfig
	folder   *folder
	settings settings
}

// New reads and checks the migrations in fsys. It touches no database, and it does not read fsys
// again later. conn must come from [pgx.ParseConfig]; New copies it.
//
// Migrations are the files named NUMBER_NAME.sql at the top of fsys, numbered 1, 2, 3 and so on.
// *.sql files in subfolders are tern's shared templates. Other files are ignored.
//
// Problems are returned all at once as a *[FolderError]. Warnings are logged; see
// [Migrator.Warnings] and [WithStrict].
func New(conn *pgx.ConnConfig, fsys fs.FS, opts ...Option) (*Migrator, error) {
	if conn == nil {
		return nil, errors.New("new migrator: conn is nil: parse one with pgx.ParseConfig")
	}
	s, err := newSettings(opts)
	if err != nil {
		return nil, fmt.Errorf("new migrator: %w", err)
	}
	f, err := loadFolder(fsys, s)
	if err != nil {
		return nil, err
	}
	for _, w := range f.warnings {
		s.logger.Warn("migrations folder: "+w.Detail, "file", w.File, "line", w.Line, "hint", w.Hint)
	}
	return &Migrator{conn: conn.Copy(), folder: f, settings: s}, nil
}

// Check reads and checks the migrations in fsys as [New] does and returns them in order. Use it in
// a unit test of the folder, with [WithStrict]. [WithData] and [WithRepeatable] are the only other
// options with an effect.
func Check(fsys fs.FS, opts ...Option) ([]Migration, error) {
	s, err := newSettings(opts)
	if err != nil {
		return nil, fmt.Errorf("check migrations: %w", err)
	}
	f, err := loadFolder(fsys, s)
	if err != nil {
		return nil, err
	}
	return f.migrations, nil
}

// Migrations returns the folder's migrations in order. The caller owns the slice.
func (m *Migrator) Migrations() []Migration { return slices.Clone(m.folder.migrations) }

// Warnings returns the folder's problems that do not stop a run, such as a marker that CRLF hides
// and files that are ignored. The caller owns the slice.
func (m *Migrator) Warnings() []Problem { return slices.Clone(m.folder.warnings) }

// Checksum identifies what the folder does to an empty database: SHA-256, in hexadecimal, over the
// names and the rendered SQL of all migrations, the repeatable ones, and the name of the version
// table. A cache of migrated databases may use it as its key.
func (m *Migrator) Checksum() string {
	h := sha256.New()
	// Lengths keep two fields from running into each other.
	fmt.Fprintf(h, "%d:%s\n", len(m.settings.versionTable), m.settings.versionTable)
	for _, mig := range m.folder.migrations {
		fmt.Fprintf(h, "%d:%s %d:%s %d:%s\n", len(mig.Name), mig.Name, len(mig.Up), mig.Up, len(mig.Down), mig.Down)
	}
	for _, s := range m.folder.repeatable {
		fmt.Fprintf(h, "%d:%s %s\n", len(s.Path), s.Path, s.Checksum)
	}
	return hex.EncodeToString(h.Sum(nil))
}
