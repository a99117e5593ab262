package dev_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/dev/diff"
	"github.com/page-builder/persistence/pgmigrate/dev/drift"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// TestFigures prints how long drift and diff take on a schema of a hundred tables.
func TestFigures(t *testing.T) {
	if os.Getenv("PGMIGRATE_FIGURES") == "" {
		t.Skip("PGMIGRATE_FIGURES is not set")
	}
	folder, wanted := fstest.MapFS{}, ""
	for i := range 100 {
		sql := fmt.Sprintf(`create table t%[1]d (id bigint generated always as identity primary key,
			parent_id bigint references t%[2]d (id),
	title text not null, body text, price numeric(10,2) check (price >= 0), at timestamptz not null default now(),
		state text default 'new');
create index t%[1]d_title on t%[1]d (title);
create index t%[1]d_at on t%[1]d (at) where state = 'new';
comment on table t%[1]d is 'table %[1]d';
`, i, max(i-1, 0))
		folder[fmt.Sprintf("%03d_t%d.sql", i+1, i)] = &fstest.MapFile{Data: []byte(sql)}
		wanted += sql
	}
	cfg := config(t, pgserver.Database(t))
	m, err := pgmigrate.New(cfg, folder, pgmigrate.WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		start := time.Now()
		report, err := drift.Check(t.Context(), cfg, folder, drift.Options{})
		if err != nil || report.Drifted() {
			t.Fatalf("%v %+v", err, report)
		}
		inDrift := time.Since(start)
		start = time.Now()
		result, err := diff.Make(t.Context(), folder, strings.Replace(wanted, "body text,", "body text, extra text,",
			1), "extra", diff.Options{})
		if err != nil || len(result.Files) != 1 {
			t.Fatalf("%v %+v", err, result)
		}
		fmt.Printf("100 tables, 100 migrations: drift %.1f s, diff with one new column %.1f s\n", inDrift.Seconds(),
			time.Since(start).Seconds())
	}
}
