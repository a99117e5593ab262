package shadow_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

// A migrated database without data.
func ExampleOpen() {
	ctx := context.Background()
	db, err := shadow.Open(ctx, shadow.Options{
		// os.DirFS("migrations").
		Migrations: fstest.MapFS{"001_pages.sql": {Data: []byte("create table pages (id int);")}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	fmt.Println(db.Exec(ctx, "alter table pages add title text; drop table pages"))
	// Output: <nil>
}
