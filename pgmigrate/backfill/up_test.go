package backfill_test

import (
	"errors"
	"testing"
	"testing/fstest"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/backfill"
)

var expandAndContract = fstest.MapFS{
	"001_rows.sql": {Data: []byte("create table rows (id bigint primary key, n int not null default 0);\n" +
		"insert into rows select i from generate_series(1, 500) i;\n" +
		"---- create above / drop below ----\ndrop table rows;")},
	"002_old.sql": {Data: []byte("-- pgmigrate:requires-backfill count\nalter table rows add constraint counted check " +
		"(n = 1) not valid;\n---- create above / drop below ----\nalter table rows drop constraint counted;")},
	"003_valid.sql": {Data: []byte("-- pgmigrate:requires-backfill count\nalter table rows validate constraint counted;\n" +
		"---- create above / drop below ----\nselect 1;")},
}

func (b *bench) migrator() *pgmigrate.Migrator {
	b.t.Helper()
	m, err := pgmigrate.New(b.config, expandAndContract, pgmigrate.WithLogger(nil))
	if err != nil {
		b.t.Fatal(err)
	}
	return m
}

// Up runs a backfill where a migration requires it, once, and again if the migrations before it
// were rolled back and applied again.
func TestUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r, m := b.runner(backfill.Options{}, "count", count), b.migrator()
	result, err := r.Up(t.Context(), m)
	if err != nil || result.From != 0 || result.To != 3 || len(result.Steps) != 3 {
		t.Fatalf("%+v, %v", result, err)
	}
	b.wantOnce(500)
	// A migration that needs the backfill goes and comes: the rows stay as they are.
	if _, err := m.To(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if result, err = r.Up(t.Context(), m); err != nil || result.From != 1 || result.To != 3 {
		t.Fatalf("%+v, %v", result, err)
	}
	b.wantOnce(500)
	// So does the one that made the rows: they are new.
	if _, err := m.To(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if s := status(t, r); s.State != backfill.StatePending {
		t.Errorf("rolled back: %+v", s)
	}
	if result, err = r.Up(t.Context(), m); err != nil || result.To != 3 {
		t.Fatalf("%+v, %v", result, err)
	}
	b.wantOnce(500)
}

func TestUpWithoutFile(t *testing.T) {
	t.Parallel()
	b := setup(t)
	result, err := b.runner(backfill.Options{}).Up(t.Context(), b.migrator())
	if !errors.Is(err, backfill.ErrUnknown) || result.To != 1 {
		t.Errorf("%+v, %v", result, err)
	}
	contains(t, err, "002_old.sql requires it")
	// Another version table: the end of the backfill is not to be seen.
	_, err = b.runner(backfill.Options{VersionTable: "public.other"}, "count", count).Up(t.Context(), b.migrator())
	contains(t, err, "another database, version table or history schema")
}
