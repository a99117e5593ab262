package migration

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing/fstest"

	"github.com/golang-migrate/migrate/v4"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	tern "github.com/jackc/tern/v2/migrate"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/page-builder/persistence/pgmigrate"
)

// Tool applies a list of statements to a database, one for each migration, on its own connections.
type Tool struct {
	Name string
	Up   func(ctx context.Context, cfg *pgx.ConnConfig, statements []string) error
}

// Tools are the compared tools.
var Tools = []Tool{
	{"tern", ternUp},
	{"pgmigrate", pgmigrateUp},
	{"goose", gooseUp},
	{"goose, session lock", gooseLockedUp},
	{"golang-migrate", golangMigrateUp},
}

// folder writes the statements in a tool's format; a file's name and text may depend on whether it
// can run in a transaction.
func folder(statements []string, file func(n int, statement string, concurrent bool) (name, text string)) fs.FS {
	fsys := fstest.MapFS{}
	for i, s := range statements {
		name, text := file(i+1, s, strings.Contains(s, "concurrently"))
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

func ternFolder(statements []string) fs.FS {
	return folder(statements, func(n int, s string, concurrent bool) (string, string) {
		if concurrent {
			s = "---- tern: disable-tx ----\n" + s
		}
		return fmt.Sprintf("%03d_m.sql", n), s + ";\n"
	})
}

func ternUp(ctx context.Context, cfg *pgx.ConnConfig, statements []string) error {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	m, err := tern.NewMigrator(ctx, conn, "public.schema_version")
	if err != nil {
		return err
	}
	if err := m.LoadMigrations(ternFolder(statements)); err != nil {
		return err
	}
	return m.Migrate(ctx)
}

func pgmigrateUp(ctx context.Context, cfg *pgx.ConnConfig, statements []string) error {
	m, err := pgmigrate.New(cfg, ternFolder(statements), pgmigrate.WithLogger(nil))
	if err != nil {
		return err
	}
	_, err = m.Up(ctx)
	return err
}

func gooseUp(ctx context.Context, cfg *pgx.ConnConfig, statements []string) error {
	return gooseWith(ctx, cfg, statements)
}

// gooseLockedUp takes goose's lock, which is off by default, and looks for it each second instead
// of every five.
func gooseLockedUp(ctx context.Context, cfg *pgx.ConnConfig, statements []string) error {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60))
	if err != nil {
		return err
	}
	return gooseWith(ctx, cfg, statements, goose.WithSessionLocker(locker))
}

func gooseWith(
	ctx context.Context, cfg *pgx.ConnConfig, statements []string, opts ...goose.ProviderOption,
) (err error) {
	db := stdlib.OpenDB(*cfg)
	defer func() { err = errors.Join(err, db.Close()) }()
	fsys := folder(statements, func(n int, s string, concurrent bool) (string, string) {
		if concurrent {
			s = "-- +goose NO TRANSACTION\n-- +goose Up\n" + s
		} else {
			s = "-- +goose Up\n" + s
		}
		return fmt.Sprintf("%03d_m.sql", n), s + ";\n"
	})
	p, err := goose.NewProvider(goose.DialectPostgres, db, fsys, append(opts, goose.WithDisableGlobalRegistry(true))...)
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// golangMigrateUp takes no context, because the tool takes none for a run.
func golangMigrateUp(_ context.Context, cfg *pgx.ConnConfig, statements []string) (err error) {
	db := stdlib.OpenDB(*cfg)
	defer func() { err = errors.Join(err, db.Close()) }()
	source, err := iofs.New(folder(statements, func(n int, s string, _ bool) (string, string) {
		return fmt.Sprintf("%03d_m.up.sql", n), s + ";\n"
	}), ".")
	if err != nil {
		return err
	}
	multiple := slices.ContainsFunc(statements, func(s string) bool { return strings.HasPrefix(s, WithoutTransaction) })
	driver, err := migratepgx.WithInstance(db, &migratepgx.Config{MultiStatementEnabled: multiple})
	if err != nil {
		return err
	}
	m, err := migrate.NewWithInstance("iofs", source, "pgx5", driver)
	if err != nil {
		return err
	}
	defer func() {
		sourceErr, databaseErr := m.Close()
		err = errors.Join(err, sourceErr, databaseErr)
	}()
	if err := m.Up(); err != nil && !errors.Is(err, migrate.ErrNoChange) {
		return err
	}
	return nil
}

// WithoutTransaction is the first line of a migration that runs without one.
const WithoutTransaction = "-- without a transaction, as create index concurrently needs\n"

// Names returns the names of the tools.
func Names() []string {
	names := make([]string, len(Tools))
	for i, t := range Tools {
		names[i] = t.Name
	}
	return names
}
