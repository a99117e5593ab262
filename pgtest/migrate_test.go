package pgtest_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/page-builder/persistence/pgtest"
)

var (
	withBackfill = fstest.MapFS{
		"001_a.sql": {Data: []byte("create table a (id int primary key, old int, new int)")},
		"002_b.sql": {Data: []byte("insert into a values (1, 10)")},
		"003_c.sql": {Data: []byte("-- pgmigrate:requires-backfill copy\nalter table a drop column old")},
	}
	backfills = fstest.MapFS{"copy.sql": {Data: []byte(
		"-- pgmigrate:backfill table=public.a key=id\nupdate a set new = old where id between $1 and $2")}}
)

// The template has what the backfills make of it; a test of one begins at an earlier version.
func TestBackfills(t *testing.T) {
	t.Parallel()
	opts := []pgtest.Option{pgtest.Migrations(withBackfill), pgtest.Backfills(backfills)}
	var made int
	pool := pgtest.New(t, opts...)
	if err := pool.QueryRow(t.Context(), "select new from a").Scan(&made); err != nil || made != 10 {
		t.Errorf("%d, %v", made, err)
	}

	pool = pgtest.New(t, append(opts, pgtest.Version(1))...)
	if _, err := pool.Exec(t.Context(), "insert into a values (7, 70)"); err != nil {
		t.Fatal(err)
	}
	pgtest.Migrate(t, pool, opts...)
	if err := pool.QueryRow(t.Context(), "select sum(new) from a").Scan(&made); err != nil || made != 80 {
		t.Errorf("%d, %v", made, err)
	}

	// Without backfills the migrations do not wait.
	pool = pgtest.New(t, pgtest.Migrations(withBackfill), pgtest.Backfills(nil))
	var missing bool
	if err := pool.QueryRow(t.Context(), "select new is null from a").Scan(&missing); err != nil || !missing {
		t.Errorf("%v, %v", missing, err)
	}
}

func TestBackfillsMissing(t *testing.T) {
	t.Parallel()
	for want, opts := range map[string][]pgtest.Option{
		"003_c.sql requires the backfill copy": {pgtest.Migrations(withBackfill)},
		"the folder has migrations 1 to 3":     {pgtest.Migrations(withBackfill), pgtest.Version(4)},
		"the first line has to be": {
			pgtest.Migrations(withBackfill),
			pgtest.Backfills(fstest.MapFS{"copy.sql": {Data: []byte("select 1")}}),
		},
	} {
		r := &recorder{TB: t}
		failures := r.run(func() { pgtest.New(r, opts...) })
		if len(failures) == 0 || !strings.Contains(failures[0], want) {
			t.Errorf("%q, want %q", failures, want)
		}
	}
}
