package pgmigrate_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
)

func Example() {
	migrate := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Minute) // waiting for locks included
		defer cancel()
		cfg, err := pgx.ParseConfig(os.Getenv("DATABASE_URL"))
		if err != nil {
			return errors.New("DATABASE_URL does not parse") // pgx's error may quote the password
		}
		m, err := pgmigrate.New(cfg, os.DirFS("migrations"))
		if err != nil {
			return err // all that is wrong with the folder, with file and line
		}
		result, err := m.Up(ctx)
		if err != nil {
			return err // file, line, SQLSTATE, and the state of the database
		}
		log.Printf("version %d, %d migrations applied in %s", result.To, len(result.Steps), result.Duration)
		return nil
	}
	if err := migrate(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// In a unit test of your own, Check finds what is wrong with a folder before it meets a database.
func ExampleCheck() {
	folder := fstest.MapFS{
		"001_pages.sql": {Data: []byte("create table pages (id int primary key);")},
		"003_sites.sql": {Data: []byte("-- to be written")},
	}
	_, err := pgmigrate.Check(folder)
	var folderErr *pgmigrate.FolderError
	if errors.As(err, &folderErr) {
		for _, p := range folderErr.Problems {
			fmt.Printf("%s:%d: %s\n", p.File, p.Line, p.Detail)
		}
	}
	// Output:
	// 003_sites.sql:0: number 2 is missing before it
	// 003_sites.sql:1: the up section has no SQL
}

func ExampleMigrator_Status() {
	cfg, err := pgx.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal("DATABASE_URL does not parse")
	}
	m, err := pgmigrate.New(cfg, os.DirFS("migrations"))
	if err != nil {
		log.Fatal(err)
	}
	status, err := m.Status(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for _, mig := range status.Migrations {
		fmt.Println(mig.Version, mig.Name, mig.Applied)
	}
}

func ExampleMigrationError() {
	var m *pgmigrate.Migrator
	_, err := m.Up(context.Background())
	var failed *pgmigrate.MigrationError
	if errors.As(err, &failed) && failed.State == pgmigrate.StatePartlyApplied {
		fmt.Printf("%s:%d needs a person: it runs without a transaction and was interrupted\n", failed.Name, failed.Line)
	}
}

// For pghealth, or any other health check that has a connection of its own.
func ExampleMigrator_SchemaVersion() {
	var m *pgmigrate.Migrator
	check := func(ctx context.Context, conn *pgx.Conn) error {
		v, err := m.SchemaVersion(ctx, conn)
		switch {
		case err != nil:
			return err
		case v.Dirty:
			return errors.New("a migration stopped half-way")
		case v.Current < v.Latest:
			return errors.New("the schema is behind this binary")
		}
		return nil
	}
	_ = check
}

func ExampleMigrator_Resolve() {
	var m *pgmigrate.Migrator
	_, err := m.Up(context.Background())
	var dirty *pgmigrate.DirtyError
	if errors.As(err, &dirty) {
		// Somebody has looked at what the section's statements did, and undone it.
		err = m.Resolve(context.Background(), dirty.Version, pgmigrate.ResolveRolledBack)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func ExampleMigrator_WaitFor() {
	var m *pgmigrate.Migrator
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// Another job migrates. This service needs the last migration that it was built with.
	if err := m.WaitFor(ctx, int32(len(m.Migrations()))); err != nil {
		log.Print(err) // the version the database is at, or why the server could not be asked
	}
}

func ExampleMigrator_Seed() {
	var m *pgmigrate.Migrator
	result, err := m.Seed(context.Background(), os.DirFS("seeds"), os.Getenv("APP_ENV"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Run)
}
