package drift_test

import (
	"context"
	"errors"
	"fmt"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/dev/drift"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

// Somebody has made an index by hand.
func ExampleCheck() {
	ctx := context.Background()
	// os.DirFS("migrations").
	migrations := fstest.MapFS{"001_pages.sql": {Data: []byte("create table pages (id int, slug text);")}}
	// Stands for the one that DATABASE_URL names.
	live, err := shadow.Open(ctx, shadow.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer live.Close()

	_, err = drift.Check(ctx, live.Config(), migrations, drift.Options{})
	fmt.Println("never migrated:", errors.Is(err, drift.ErrNotMigrated))
	if err := migrate(ctx, live.Config(), migrations); err != nil {
		fmt.Println(err)
		return
	}
	if err := live.Exec(ctx, "create index by_hand on pages (slug)"); err != nil {
		fmt.Println(err)
		return
	}
	// With pg_dump more is compared.
	report, err := drift.Check(ctx, live.Config(), migrations, drift.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Drifted())
	for _, statement := range report.Plan.Statements {
		fmt.Println(statement.SQL)
	}
	// Output:
	// never migrated: true
	// true
	// DROP INDEX CONCURRENTLY public.by_hand
}

func migrate(ctx context.Context, live *pgx.ConnConfig, migrations fstest.MapFS) error {
	m, err := pgmigrate.New(live, migrations, pgmigrate.WithLogger(nil))
	if err != nil {
		return err
	}
	_, err = m.Up(ctx)
	return err
}
