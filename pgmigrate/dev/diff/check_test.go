package diff_test

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/dev/diff"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

// Where rows may break a change, the file has a check. It stops the migration and names the rows.
func TestChecks(t *testing.T) {
	t.Parallel()
	folder := after("create table u (id int primary key); create table t (id int primary key, n int, r int, k int, v int);")
	result, err := diff.Make(t.Context(), folder, `create table u (id int primary key);
		create table t (id int primary key, n int not null, r int references u, k int unique,
			v int check (v > 0) no inherit);`, "checks", diff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range result.Files {
		folder[f.Name] = &fstest.MapFile{Data: []byte(f.Content)}
	}
	db, err := shadow.Open(t.Context(), shadow.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Migrate(t.Context(), folder, 1); err != nil {
		t.Fatal(err)
	}
	if err := db.Exec(t.Context(), `insert into t values (1, 1, null, 7, 1), (2, 1, null, 7, 1), (3, 1, 9, 3, 1),
		(4, 1, null, 4, -1), (5, null, null, 5, 1)`); err != nil {
		t.Fatal(err)
	}
	faults := []struct{ message, rows, mend string }{
		{"several rows of public.t have the same k", "k = 7, count = 2", "update t set k = 1 where id = 1"},
		{"rows of public.t have no value in n", "id = 5", "update t set n = 1 where id = 5"},
		{"rows of public.t break the check t_v_check", "id = 4", "delete from t where id = 4"},
		{"rows of public.t refer to no row of public.u", "id = 3", "insert into u values (9)"},
	}
	for _, f := range faults {
		err := db.Migrate(t.Context(), folder, int32(len(folder)))
		var check *pgmigrate.CheckError
		if !errors.As(err, &check) || check.Message != f.message || !strings.Contains(check.Error(), f.rows) {
			t.Fatalf("want %q and %s, got %v", f.message, f.rows, err)
		}
		if err := db.Exec(t.Context(), f.mend); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Migrate(t.Context(), folder, int32(len(folder))); err != nil {
		t.Error(err)
	}
}
