package pgtest

import (
	"io/fs"
	"maps"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/peterldowns/pgtestdb"
)

// Option changes what [New] and [URL] do.
type Option func(*options)

type options struct {
	migrations fs.FS
	repeatable fs.FS
	custom     pgtestdb.Migrator
	backfills  *fs.FS // nil: the folder next to the migrations; a nil FS: none
	version    int32  // 0: the last
	seeds      []fs.FS
	superuser  bool
	keep       bool
	settings   map[string]string
	config     []func(*pgxpool.Config)
}

func newOptions(opts []Option) options {
	var o options
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return o
}

// Migrations names the tern migrations that the database starts with. The last of Migrations and
// [Migrator] counts. Defaults to the folder "migrations" next to the nearest go.mod or go.work,
// from the test's package upwards, that has such a folder.
func Migrations(fsys fs.FS) Option {
	return func(o *options) { o.migrations, o.custom = fsys, nil }
}

// Repeatable names the folder of pgmigrate's repeatable migrations, which run after the others.
// Defaults to the folder "repeatable" next to the default migrations, and to none with
// [Migrations].
func Repeatable(fsys fs.FS) Option {
	return func(o *options) { o.repeatable = fsys }
}

// Backfills names the folder of the backfills that the migrations require; they run when the
// template is made. nil runs none, and the migrations do not wait for them. Defaults to the folder
// "backfills" next to the default migrations.
func Backfills(fsys fs.FS) Option {
	return func(o *options) { o.backfills = &fsys }
}

// Version makes the database with the migrations up to version only, for the test of a later one:
// insert rows as they were, then call [Migrate].
func Version(version int32) Option {
	return func(o *options) { o.version = version }
}

// Migrator fills the template by other means than tern's files: goose, golang-migrate, atlas and
// others have one for pgtestdb. The driver of the *sql.DB that it is given is pgx.
func Migrator(m pgtestdb.Migrator) Option {
	return func(o *options) { o.custom = m }
}

// Seed applies the *.sql files in the root of fsys and then those in its folder "test" to the
// template after its migrations, each in the order of their names and in a transaction of its own,
// as "pgmigrate seed" does with APP_ENV=test. So they run once, however many tests there are.
// Several add up.
func Seed(fsys fs.FS) Option {
	return func(o *options) { o.seeds = append(o.seeds, fsys) }
}

// Superuser makes the owner of the database, which the test connects as, a superuser: for
// extensions that only one may create. Leave it out otherwise, so that tests fail on missing rights
// as production would.
func Superuser() Option {
	return func(o *options) { o.superuser = true }
}

// Config changes the pool's configuration before [New] makes the pool: registered types, a tracer,
// the pool's size, a runtime parameter. Several run in order. [URL] ignores it.
func Config(fn func(*pgxpool.Config)) Option {
	return func(o *options) { o.config = append(o.config, fn) }
}

// Settings asks for a server with these settings, such as {"wal_level": "logical",
// "max_prepared_transactions": "10"}. Tests that ask for the same share one, which is started for
// them. The server of PGTEST_URL must have them already: otherwise the test fails.
func Settings(settings map[string]string) Option {
	return func(o *options) {
		o.settings = maps.Clone(o.settings)
		if o.settings == nil {
			o.settings = map[string]string{}
		}
		maps.Copy(o.settings, settings)
	}
}

// Keep leaves the database there if the test fails, and logs the psql command that opens it,
// without a password. On a throw-away server it stays for an hour, and the server with it; on
// PGTEST_URL's for a day, until the first test process after that. [Clean] drops it earlier.
// PGTEST_KEEP=1 does the same for every test.
func Keep() Option {
	return func(o *options) { o.keep = true }
}
