package pgmigrate_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgmigrate"
)

// Run as tern's, each of these would drop the table right after it was created.
func TestForeignFilesAreRefused(t *testing.T) {
	t.Parallel()
	const up, down = "create table a (id int);\n", "drop table a;\n"
	for tool, folders := range map[string][]fs.FS{
		"goose": {
			files("001_a.sql", "-- +goose Up\n"+up+"-- +goose Down\n"+down),
			files("001_a.sql", "-- +goose up\n"+up+"-- +goose down  \n"+down),
			files("001_a.sql", "--+goose Up\r\n"+up+"--+goose Down\r\n"+down),
			files("001_a.sql", up, "002_b.sql", "\n  --  +GOOSE  NO TRANSACTION\n"+up),
			files("001_a.sql", "\ufeff-- +goose Up\n"+up),
			files("001_a.sql", "/* +goose Up */\n"+up+"/* +goose Down */\n"+down),
			files("20260101120000_a.sql", "-- +goose Up\n"+up),
		},
		"sql-migrate": {
			files("1_a.sql", "-- +migrate Up\n"+up+"-- +migrate Down\n"+down),
			files("1_a.sql", "--+MIGRATE up notransaction\n"+up+"--   +migrate down\t\n"+down),
		},
		"dbmate": {
			files("1_a.sql", "-- migrate:up\n"+up+"-- migrate:down\n"+down),
			files("1_a.sql", "--migrate:up transaction:false\r\n"+up+"--MIGRATE: Down\r\n"+down),
		},
		"golang-migrate": {
			files("000001_a.up.sql", up, "000001_a.down.sql", down),
			files("1_a.up.sql", up), files("1_a.sql", up, "2_b.DOWN.sql", down), files("1_.up.sql", up),
		},
		"Flyway": {
			files("V1__a.sql", up, "U1__a.sql", down), files("v1.2__a.sql", up),
			files("1_a.sql", up, "R__view.sql", up),
		},
		"Prisma": {
			files("0_init/migration.sql", up), files("20260101120000_init/migration.sql", up, "migration_lock.toml",
				"provider = \"postgresql\""),
		},
		"Diesel": {files("2026-01-01-120000_a/up.sql", up, "2026-01-01-120000_a/down.sql", down)},
	} {
		for i, folder := range folders {
			_, err := pgmigrate.Check(folder)
			var folderErr *pgmigrate.FolderError
			if !errors.As(err, &folderErr) || !strings.Contains(folderErr.Problems[0].Detail, tool) ||
				!strings.Contains(err.Error(), "pgmigrate import") {
				t.Errorf("%s %d: %v", tool, i, err)
			}
		}
	}
	for i, folder := range []fs.FS{
		files("1_a.sql", up+"-- not goose's: a +goose Down in the middle\n"),
		files("1_a.sql", "-- +goose Up\n"+up+below+"-- +goose Down\n"+down), // converted
		files("1_a.sql", up, "shared/migration.sql", "select 1;"),
	} {
		if _, err := pgmigrate.Check(folder); err != nil {
			t.Errorf("folder %d: %v", i, err)
		}
	}
}

func TestSectionMarkerTwice(t *testing.T) {
	t.Parallel()
	_, err := pgmigrate.Check(files("1_a.sql", "select 1;\n"+below+"select 2;\n"+below+"select 3;\n"))
	var folderErr *pgmigrate.FolderError
	if !errors.As(err, &folderErr) || folderErr.Problems[0].Line != 4 {
		t.Errorf("got %v", err)
	}
	for _, line := range []string{"-- down", "-- DOWN:", "--- Rollback ---", "-- migrate down", "-- @undo", "-- !Downs", "-- Revert"} {
		folder := files("1_a.sql", "select 1;\n"+line+"\nselect 2;\n")
		if _, err := pgmigrate.Check(folder, pgmigrate.WithStrict()); err == nil {
			t.Errorf("%q passes", line)
		}
	}
}
