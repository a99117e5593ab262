// Package shadow makes databases that a development command may change freely. A shadow is migrated
// and holds no data. Each is new, private to its process, and dropped by [DB.Close]. If a process
// is killed, the next [Open] on the same server drops its shadows.
//
//	db, err := shadow.Open(ctx, shadow.Options{Migrations: os.DirFS("migrations")})
//	if err != nil {
//		return err
//	}
//	defer db.Close()
//
// A shadow lives on a throwaway server of pgserver, or on a server that the caller names.
package shadow

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
)

// Options says what a shadow holds and where it lives. The zero value is an empty database on a
// throwaway server.
type Options struct {
	// Migrations is the folder to apply. Defaults to none: an empty database.
	Migrations fs.FS

	// Version is the last version to apply. Defaults to the folder's last.
	Version int32

	// Migrate are the options of the migrator, such as the version table's name and template data.
	Migrate []pgmigrate.Option

	// URL is the address of a server to use, by any of its databases; the role needs the right to
	// create databases. Default: a server of pgserver's, which starts in a few tenths of a second
	// and is shared with other shadows; then PGTEST_URL, if that is set.
	URL string

	// Live is the database that the shadow stands in for, if any. The shadow gets the same major
	// version if that is installed. Open refuses a URL that names the same database. It never
	// changes Live.
	Live *pgx.ConnConfig

	// Extensions are created before the migrations run. In production an administrator creates
	// them.
	Extensions []string
}

// DB is a shadow database. It is safe for concurrent use.
type DB struct {
	host   *host
	name   string
	config *pgx.ConnConfig
	opts   Options
}

// Open makes a shadow. It blocks until the migrations are applied or ctx is done; an error leaves
// nothing behind.
//
// Roles belong to a server, not to a database. On a throwaway server Open creates roles that the
// migrations name but do not create, without login. On a named server they have to exist. A
// migration with a bare CREATE ROLE fails if the role exists, as on a second database of any
// server.
func Open(ctx context.Context, opts Options) (*DB, error) {
	h, err := newHost(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("shadow database: %w", err)
	}
	db, err := h.create(ctx, "template0", opts)
	h.release() // the database holds it now, if there is one
	if err != nil {
		return nil, fmt.Errorf("shadow database: %w", err)
	}
	if err := db.fill(ctx); err != nil {
		db.Close() // return the first error
		return nil, err
	}
	return db, nil
}

func (db *DB) fill(ctx context.Context) error {
	for _, name := range db.opts.Extensions {
		if err := db.Exec(ctx, "create extension if not exists "+quoted(name)+" cascade"); err != nil {
			return fmt.Errorf("shadow database: extension %s: %w", name, err)
		}
	}
	if db.opts.Migrations == nil {
		return nil
	}
	version := db.opts.Version
	if version == 0 {
		migrations, err := pgmigrate.Check(db.opts.Migrations, db.opts.Migrate...)
		if err != nil {
			return err
		}
		version = int32(len(migrations))
	}
	return db.Migrate(ctx, db.opts.Migrations, version)
}

// Config returns how to connect. The caller owns it.
func (db *DB) Config() *pgx.ConnConfig { return db.config.Copy() }

// Name returns the database's name: pgmigrate_shadow_ and a unique suffix.
func (db *DB) Name() string { return db.name }

// Major returns the major version of the shadow's server, such as 16.
func (db *DB) Major() int { return db.host.major }

// Note says how the shadow differs from the request, for example in its major version. It is "" if
// there is no difference.
func (db *DB) Note() string { return db.host.note }

// Clone makes a copy. No session may be connected to db during the copy. ctx limits the wait for
// sessions that are ending.
func (db *DB) Clone(ctx context.Context) (*DB, error) {
	if err := db.host.waitUnused(ctx, db.name); err != nil {
		return nil, fmt.Errorf("copy the shadow database: %w", err)
	}
	clone, err := db.host.create(ctx, db.name, db.opts)
	if err != nil {
		return nil, fmt.Errorf("copy the shadow database: %w", err)
	}
	return clone, nil
}

// Empty makes another shadow on the same server, with the extensions and without migrations.
func (db *DB) Empty(ctx context.Context) (*DB, error) {
	opts := db.opts
	opts.Migrations = nil
	empty, err := db.host.create(ctx, "template0", opts)
	if err != nil {
		return nil, fmt.Errorf("shadow database: %w", err)
	}
	if err := empty.fill(ctx); err != nil {
		empty.Close() // return the first error
		return nil, err
	}
	return empty, nil
}

// Close drops the database, even if sessions are connected. After the last database of its server
// it also releases the server. It does not depend on a context, blocks for at most 10 s, and may be
// called more than once.
func (db *DB) Close() error {
	if err := db.host.drop(db.name); err != nil {
		return fmt.Errorf("shadow database: drop %s: %w", db.name, err)
	}
	return nil
}
