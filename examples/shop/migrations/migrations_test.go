package migrations_test

import (
	"testing"

	"github.com/page-builder/persistence/pgtest"
)

// TestMigrations checks a database made by the migrations.
func TestMigrations(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t) // its own database, dropped at the end
	var tables int
	err := pool.QueryRow(t.Context(), "select count(*) from pg_tables where schemaname = 'public'").Scan(&tables)
	if err != nil {
		t.Fatal(err)
	}
	if tables < 2 { // one is the version table
		t.Errorf("the migrations made %d tables", tables)
	}
}
