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
			return err // every problem of the folder, with file and line
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
