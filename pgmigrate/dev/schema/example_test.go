package schema_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/page-builder/persistence/pgmigrate/dev/schema"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

// What makes one database like another.
func ExampleCompare() {
	ctx := context.Background()
	from, err := shadow.Open(ctx, shadow.Options{}) // any database: it is only read
	if err != nil {
		fmt.Println(err)
		return
	}
	defer from.Close()
	to, err := from.Empty(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer to.Close()
	if err := errors.Join(from.Exec(ctx, "create table pages (id int)"),
		to.Exec(ctx, "create table pages (id int, title text)")); err != nil {
		fmt.Println(err)
		return
	}

	difference, err := schema.Compare(ctx, schema.Database{Config: from.Config()},
		schema.Database{Config: to.Config()}, schema.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, statement := range difference.Plan().Statements {
		fmt.Println(statement.SQL)
	}
	// Output:
	// ALTER TABLE public.pages ADD COLUMN title text
}
