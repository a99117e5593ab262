package lint_test

import (
	"context"
	"fmt"
	"log"
	"testing/fstest"

	"github.com/page-builder/persistence/pgmigrate/dev/lint"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

func ExampleRun() {
	ctx := context.Background()
	migrations := fstest.MapFS{ // os.DirFS("migrations")
		"001_orders.sql": {Data: []byte("create table orders (id bigint primary key, code text);")},
		"002_codes.sql":  {Data: []byte("create index orders_code on orders (code);")},
	}
	db, err := shadow.Open(ctx, shadow.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	report, err := lint.Run(ctx, db, migrations, lint.Options{Versions: []int32{2}})
	if err != nil {
		log.Print(err)
		return
	}
	for _, f := range report.Findings {
		fmt.Printf("%s:%d: %s: %s\n%s\n", f.File, f.Line, f.Rule, f.Message, f.Fix)
	}
	// Output:
	// 002_codes.sql:1: index-without-concurrently: builds orders_code on orders
	// -- in a migration of its own, with the line "---- tern: disable-tx ----":
	// create index concurrently orders_code on orders (code);
}
