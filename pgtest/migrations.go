package pgtest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	"github.com/peterldowns/pgtestdb"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/backfill"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// folders returns the migrations, the repeatable ones and the backfills that the caller named, or
// the defaults. The last two are nil if there are none.
func (o options) folders() (migrations, repeatable, backfills fs.FS, err error) {
	migrations, repeatable = o.migrations, o.repeatable
	if o.backfills != nil {
		backfills = *o.backfills
	}
	if migrations != nil {
		return migrations, repeatable, backfills, nil
	}
	here, err := os.Getwd() // go test runs a package's tests in its folder
	if err != nil {
		return nil, nil, nil, err
	}
	dir, migrations, err := nearestMigrations(here)
	if o.backfills == nil {
		backfills = sqlFiles(filepath.Join(dir, "backfills"))
	}
	if o.repeatable == nil {
		repeatable = sqlFiles(filepath.Join(dir, "repeatable"))
	}
	return migrations, repeatable, backfills, err
}

// nearestMigrations returns the folder migrations, and the one around it.
func nearestMigrations(here string) (dir string, migrations fs.FS, err error) {
	var tried []string
	for dir := range upwards(here) {
		if isFile(filepath.Join(dir, "go.mod")) || isFile(filepath.Join(dir, "go.work")) {
			folder := filepath.Join(dir, "migrations")
			if migrations := sqlFiles(folder); migrations != nil {
				return dir, migrations, nil
			}
			tried = append(tried, folder)
		}
	}
	if len(tried) == 0 {
		return "", nil, fmt.Errorf("no go.mod or go.work in %s or above: name the migrations with "+
			"pgtest.Migrations", here)
	}
	return "", nil, fmt.Errorf("no migrations (*.sql) in %q"+
		": put them there, or name them with pgtest.Migrations", tried)
}

// sqlFiles returns a folder, or nil if it has no SQL files.
func sqlFiles(dir string) fs.FS {
	fsys := os.DirFS(dir)
	if found, _ := fs.Glob(fsys, "*.sql"); len(found) == 0 {
		return nil
	}
	return fsys
}

// migrator returns what fills the template.
func (o options) migrator() (pgtestdb.Migrator, error) {
	seeds, err := readSeeds(o.seeds)
	if err != nil {
		return nil, err
	}
	m := o.custom
	if m == nil {
		if m, err = o.newMigrator(); err != nil {
			return nil, err
		}
	}
	return &filled{m, seeds}, nil
}

// migrator fills pgtestdb's template through pgmigrate.
type migrator struct {
	migrations, backfills fs.FS
	options               []pgmigrate.Option
	version               int32 // 0: the last
	hash                  string
}

var _ pgtestdb.Migrator = (*migrator)(nil)

// newMigrator reports what is wrong with the folders before any server is asked.
func (o options) newMigrator() (*migrator, error) {
	m := &migrator{version: o.version, options: []pgmigrate.Option{pgmigrate.WithLogger(nil)}}
	var repeatable fs.FS
	var err error
	if m.migrations, repeatable, m.backfills, err = o.folders(); err != nil {
		return nil, err
	}
	m.options = append(m.options, pgmigrate.WithRepeatable(repeatable))
	if o.backfills != nil && m.backfills == nil {
		m.options = append(m.options, pgmigrate.WithoutBackfills())
	}
	migrate, err := pgmigrate.New(&pgx.ConnConfig{}, m.migrations, m.options...)
	if err != nil {
		return nil, err
	}
	if last := len(migrate.Migrations()); m.version < 0 || int(m.version) > last {
		return nil, fmt.Errorf("version %d: the folder has migrations 1 to %d", m.version, last)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s %d %t", migrate.Checksum(), m.version, o.backfills != nil)
	if m.backfills != nil {
		list, err := backfill.Check(m.backfills)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(h, "%q", list)
	}
	m.hash = hex.EncodeToString(h.Sum(nil))
	return m, nil
}

// Hash changes with whatever the migrations and backfills do to an empty database.
func (m *migrator) Hash() (string, error) { return m.hash, nil }

// Migrate is called by pgtestdb for a new template. pgmigrate connects by itself.
func (m *migrator) Migrate(ctx context.Context, _ *sql.DB, conf pgtestdb.Config) error {
	cfg, err := parseTemplate(conf)
	if err != nil {
		return err
	}
	return m.up(ctx, cfg)
}

func (m *migrator) up(ctx context.Context, cfg *pgx.ConnConfig) error {
	migrate, err := pgmigrate.New(cfg, m.migrations, m.options...)
	if err != nil {
		return err
	}
	up, to := migrate.Up, migrate.To
	if m.backfills != nil {
		r, err := backfill.New(cfg, m.backfills, backfill.Options{
			Logger: slog.New(slog.DiscardHandler), MaxLag: -1, MaxLockWait: -1, MaxTransactionAge: -1,
		})
		if err != nil {
			return err
		}
		up = func(ctx context.Context) (pgmigrate.Result, error) { return r.Up(ctx, migrate) }
		to = func(ctx context.Context, v int32) (pgmigrate.Result, error) { return r.To(ctx, migrate, v) }
	}
	if m.version > 0 {
		_, err = to(ctx, m.version)
	} else {
		_, err = up(ctx)
	}
	return err
}

// parseTemplate returns how a migrator connects to a new template.
func parseTemplate(conf pgtestdb.Config) (*pgx.ConnConfig, error) {
	cfg, err := pgserver.ParseConfig(conf.URL())
	if err != nil {
		return nil, errors.New("the template's connection string does not parse") // err would quote it
	}
	return cfg, nil
}
