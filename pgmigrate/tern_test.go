package pgmigrate_test

import (
	"maps"
	"os"
	"testing"

	"github.com/jackc/tern/v2/migrate"

	"github.com/page-builder/persistence/pgmigrate"
)

// TestTernTakesTurns applies a folder half by tern and half by pgmigrate, in both orders, and goes
// back down by both.
func TestTernTakesTurns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	data := map[string]any{"prefix": "x_"}
	fsys := os.DirFS("testdata/tern")
	m := migrator(t, b, fsys, pgmigrate.WithData(data))

	tern, err := migrate.NewMigrator(t.Context(), b.conn, pgmigrate.DefaultVersionTable)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(tern.Data, data)
	if err := tern.LoadMigrations(fsys); err != nil {
		t.Fatal(err)
	}
	ternTo := func(version int32) func() error {
		return func() error { return tern.MigrateTo(t.Context(), version) }
	}
	oursTo := func(version int32) func() error {
		return func() error { _, err := m.To(t.Context(), version); return err }
	}

	columns := func() int {
		return ask[int](t, b, `select count(*) from information_schema.columns where table_name in ('t1', 'x_t2')`)
	}
	indexes := func() int {
		return ask[int](t, b, `select count(*) from pg_indexes where indexname in ('t1_id', 't2_id')`)
	}
	for i, step := range []struct {
		run              func() error
		version          int32
		columns, indexes int
	}{
		{ternTo(2), 2, 2, 0},
		{oursTo(4), 4, 3, 2},
		{ternTo(1), 1, 1, 0},
		{oursTo(0), 0, 0, 0},
		{oursTo(3), 3, 2, 2},
		{ternTo(4), 4, 3, 2},
		{oursTo(2), 2, 2, 0},
		{ternTo(0), 0, 0, 0},
	} {
		if err := step.run(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if v := ask[int32](t, b, "select version from public.schema_version"); v != step.version {
			t.Errorf("step %d: version %d, want %d", i, v, step.version)
		}
		if c, x := columns(), indexes(); c != step.columns || x != step.indexes {
			t.Errorf("step %d: %d columns and %d indexes, want %d and %d", i, c, x, step.columns, step.indexes)
		}
	}
}
