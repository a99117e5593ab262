package pgmigrate_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
)

func ExampleNew() {
	url, end := databaseURL() // os.Getenv("DATABASE_URL")
	defer end()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		log.Print("DATABASE_URL does not parse") // pgx's error may quote the password
		return
	}
	m, err := pgmigrate.New(cfg, pages, // os.DirFS("migrations")
		pgmigrate.WithLogger(nil),
		pgmigrate.WithLockTimeout(time.Second),
		pgmigrate.WithStatementTimeout(10*time.Minute),
	)
	if err != nil {
		log.Print(err) // every problem of the folder, with file and line
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute) // waiting for locks included
	defer cancel()
	result, err := m.Up(ctx)
	fmt.Println(result.From, result.To, err)
	// Output: 0 2 <nil>
}

// What is done is told as it happens, for a display.
func ExampleWithProgress() {
	m, _, end := newMigrator(pages, pgmigrate.WithProgress(func(e pgmigrate.Event) {
		if e.Kind == pgmigrate.EventDone {
			fmt.Println(e.Direction, e.Name)
		}
	}))
	defer end()
	_, err := m.Up(context.Background())
	fmt.Println(err)
	// Output:
	// up 001_pages.sql
	// up 002_titles.sql
	// <nil>
}
