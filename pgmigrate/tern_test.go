package pgmigrate_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
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

// TestTernTakesRandomTurns lets both go up and down over one folder in random order. A log says
// which sections ran.
func TestTernTakesRandomTurns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "create table log (n int)")
	var pairs []string
	const versions = 9
	for n := 1; n <= versions; n++ {
		marker := ""
		if n%3 == 0 {
			marker = disableTx
		}
		pairs = append(pairs, fmt.Sprintf("%d_m.sql", n), fmt.Sprintf(
			"%[1]sinsert into log values (%[2]d);\nselect ';' -- a\n;\n"+below+"%[1]sinsert into log values (-%[2]d);\nselect 1",
			marker, n))
	}
	fsys := files(pairs...)
	m := migrator(t, b, fsys)
	tern, err := migrate.NewMigrator(t.Context(), b.conn, pgmigrate.DefaultVersionTable)
	if err != nil {
		t.Fatal(err)
	}
	if err := tern.LoadMigrations(fsys); err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	var want []int32
	at := int32(0)
	for turn := range 40 {
		target := random.Int32N(versions + 1)
		if random.IntN(2) == 0 {
			err = tern.MigrateTo(t.Context(), target)
		} else {
			_, err = m.To(t.Context(), target)
		}
		if err != nil {
			t.Fatalf("seed %d, turn %d: %v", seed, turn, err)
		}
		for ; at < target; at++ {
			want = append(want, at+1)
		}
		for ; at > target; at-- {
			want = append(want, -at)
		}
		if v := ask[int32](t, b, "select version from schema_version"); v != target {
			t.Fatalf("seed %d, turn %d: version %d, want %d", seed, turn, v, target)
		}
	}
	got := ask[[]int32](t, b, "select array_agg(n order by ctid) from log")
	if !slices.Equal(got, want) {
		t.Errorf("seed %d:\ngot  %v\nwant %v", seed, got, want)
	}
}
