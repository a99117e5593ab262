package pgserver_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

func TestDatabaseIsEmptyAndOnesOwn(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for range 2 {
		conn, err := pgx.Connect(ctx, pgserver.Database(t))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, "create table marker (id int)"); err != nil {
			t.Fatalf("the database is shared or was used before: %v", err)
		}
	}
}
