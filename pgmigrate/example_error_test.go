package pgmigrate_test

import (
	"context"
	"errors"
	"fmt"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
)

// report recognizes the errors that a person has to act on.
func report(err error) {
	var (
		failed       *pgmigrate.MigrationError
		dirty        *pgmigrate.DirtyError
		edited       *pgmigrate.EditedError
		irreversible *pgmigrate.IrreversibleError
		version      *pgmigrate.VersionError
	)
	switch {
	case errors.As(err, &failed):
		fmt.Printf("failed: %s:%d, %s\n", failed.Name, failed.Line, failed.State)
	case errors.As(err, &dirty):
		fmt.Printf("dirty: %s, statement %d at line %d\n", dirty.Name, dirty.Statement, dirty.Line)
	case errors.As(err, &edited):
		fmt.Printf("edited: %s\n", edited.Migrations[0].Name)
	case errors.As(err, &irreversible):
		fmt.Printf("irreversible: %s\n", irreversible.Name)
	case errors.As(err, &version):
		fmt.Printf("no version %d: the folder ends at %d\n", version.Target, version.Latest)
	default:
		fmt.Println(err)
	}
}

func ExampleMigrationError() {
	m, _, end := newMigrator(fstest.MapFS{
		"001_pages.sql": {Data: []byte("create table pages (id int);\n\ninsert into page values (1);\n")},
	})
	defer end()
	_, err := m.Up(context.Background())
	report(err)
	// Output: failed: 001_pages.sql:3, rolled back
}

// An applied file must not change: write a new migration.
func ExampleEditedError() {
	m, cfg, end := newMigrator(pages)
	defer end()
	if _, err := m.Up(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	m, err := pgmigrate.New(cfg, fstest.MapFS{
		"001_pages.sql":  {Data: []byte("create table pages (id bigint primary key, slug text not null);")},
		"002_titles.sql": pages["002_titles.sql"],
		"003_sites.sql":  {Data: []byte("create table sites (slug text);")},
	}, pgmigrate.WithLogger(nil))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = m.Up(context.Background())
	report(err)
	// Output: edited: 001_pages.sql
}

func ExampleIrreversibleError() {
	m, _, end := newMigrator(fstest.MapFS{"001_pages.sql": {Data: []byte("create table pages (id int);")}})
	defer end()
	if _, err := m.Up(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	_, err := m.Down(context.Background())
	report(err)
	// Output: irreversible: 001_pages.sql
}

func ExampleVersionError() {
	m, _, end := newMigrator(pages)
	defer end()
	_, err := m.To(context.Background(), 7)
	report(err)
	// Output: no version 7: the folder ends at 2
}

func ExampleFolderError() {
	cfg, err := pgx.ParseConfig("host=127.0.0.1") // New connects to nothing
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = pgmigrate.New(cfg, fstest.MapFS{"001_pages.sql": {Data: []byte("-- to be written")}})
	var folder *pgmigrate.FolderError
	if errors.As(err, &folder) {
		fmt.Printf("%s: %s\n", folder.Problems[0].File, folder.Problems[0].Detail)
	}
	// Output: 001_pages.sql: the up section has no SQL
}
