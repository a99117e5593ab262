package diff_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing/fstest"

	"github.com/page-builder/persistence/pgmigrate/dev/diff"
)

// A column is added to the schema that somebody edits; the migration is written.
func ExampleMake() {
	migrations := fstest.MapFS{
		"001_pages.sql": {
			Data: []byte("create table pages (id int);\n---- create above / drop below ----\ndrop table pages;\n"),
		},
	}
	wanted := "create table pages (id int, title text);" // schema.sql
	result, err := diff.Make(context.Background(), migrations, wanted, "add_titles", diff.Options{})
	var refused *diff.RefusedError
	if errors.As(err, &refused) {
		fmt.Println("write it by hand:", refused.Reason)
		return
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	dir, err := os.MkdirTemp("", "migrations")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	fmt.Println(diff.Write(dir, result.Files))
	for _, file := range result.Files {
		fmt.Printf("%s:\n%s", file.Name, file.Content)
	}
	// Output:
	// <nil>
	// 002_add_titles.sql:
	// ALTER TABLE public.pages ADD COLUMN title text;
	//
	// ---- create above / drop below ----
	//
	// -- DELETES_DATA: Deletes all values in the column
	// ALTER TABLE public.pages DROP COLUMN title;
}
