package pgtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	"github.com/peterldowns/pgtestdb"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// migrationsOrNearest returns the folder that the caller named, or the default.
func (o options) migrationsOrNearest() (fs.FS, error) {
	if o.migrations != nil {
		return o.migrations, nil
	}
	dir, err := os.Getwd() // go test runs a package's tests in its folder
	if err != nil {
		return nil, err
	}
	return nearestMigrations(dir)
}

func nearestMigrations(dir string) (fs.FS, error) {
	var tried []string
	for at := dir; ; at = filepath.Dir(at) {
		if isFile(filepath.Join(at, "go.mod")) || isFile(filepath.Join(at, "go.work")) {
			folder := filepath.Join(at, "migrations")
			if found, _ := filepath.Glob(filepath.Join(folder, "*.sql")); len(found) > 0 {
				return os.DirFS(folder), nil
			}
			tried = append(tried, folder)
		}
		if at == filepath.Dir(at) {
			break
		}
	}
	if len(tried) == 0 {
		return nil, fmt.Errorf("no go.mod or go.work in %s or above: name the migrations with pgtest.Migrations", dir)
	}
	return nil, fmt.Errorf("no migrations (*.sql) in %q: put them there, or name them with pgtest.Migrations", tried)
}

func isFile(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular()
}

// migrator returns what fills the template.
func (o options) migrator() (pgtestdb.Migrator, error) {
	seeds, err := readSeeds(o.seeds)
	if err != nil {
		return nil, err
	}
	if o.custom != nil {
		return &filled{Migrator: o.custom, seeds: seeds}, nil
	}
	fsys, err := o.migrationsOrNearest()
	if err != nil {
		return nil, err
	}
	m, err := newMigrator(fsys)
	if err != nil {
		return nil, err
	}
	return &filled{Migrator: m, seeds: seeds}, nil
}

// migrator fills pgtestdb's template through pgmigrate.
type migrator struct {
	fsys fs.FS
	hash string
}

var _ pgtestdb.Migrator = (*migrator)(nil)

// newMigrator reports what is wrong with the folder before any server is asked.
func newMigrator(fsys fs.FS) (*migrator, error) {
	m, err := pgmigrate.New(&pgx.ConnConfig{}, fsys, pgmigrate.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, err
	}
	return &migrator{fsys: fsys, hash: m.Checksum()}, nil
}

// Hash changes with whatever the migrations do to an empty database.
func (m *migrator) Hash() (string, error) { return m.hash, nil }

// Migrate is called by pgtestdb for a new template. pgmigrate connects by itself.
func (m *migrator) Migrate(ctx context.Context, _ *sql.DB, conf pgtestdb.Config) error {
	cfg, err := parseTemplate(conf)
	if err != nil {
		return err
	}
	migrate, err := pgmigrate.New(cfg, m.fsys, pgmigrate.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	_, err = migrate.Up(ctx)
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

func connectTemplate(ctx context.Context, conf pgtestdb.Config) (*pgx.Conn, error) {
	cfg, err := parseTemplate(conf)
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, cfg)
}
