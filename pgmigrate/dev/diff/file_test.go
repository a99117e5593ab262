package diff_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"go.uber.org/goleak"

	"github.com/page-builder/persistence/pgmigrate/dev/diff"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := []diff.File{{Name: "002_a.sql", Content: "a"}, {Name: "003_a_2.sql", Content: "b"}}
	if err := diff.Write(dir, files); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"002_a.sql", "003_a_2.sql"}) {
		t.Error(got)
	}
	if err := diff.Write(filepath.Join(dir, "none"), files); !errors.Is(err, fs.ErrNotExist) ||
		!strings.HasPrefix(err.Error(), "write migration: ") {
		t.Errorf("no folder: %v", err)
	}
}

// A file that is there already stays, and those before it do not.
func TestWriteOverwritesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	there := filepath.Join(dir, "003_a_2.sql")
	if err := os.WriteFile(there, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := diff.Write(dir, []diff.File{{Name: "002_a.sql", Content: "a"}, {Name: "003_a_2.sql", Content: "b"}})
	if !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"003_a_2.sql"}) {
		t.Error(got)
	}
	if content, err := os.ReadFile(there); err != nil || string(content) != "mine" {
		t.Errorf("%s %v", content, err)
	}
}

// The first migration of all has nothing before it, and its way back leads to an empty database.
func TestFirstMigration(t *testing.T) {
	t.Parallel()
	result, err := diff.Make(t.Context(), fstest.MapFS{}, "create table t (a int)", "first", diff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := `CREATE TABLE public.t (
    a integer
);

---- create above / drop below ----

-- DELETES_DATA: Deletes all rows in the table (and the table itself)
DROP TABLE public.t;
`
	if len(result.Files) != 1 || result.Files[0] != (diff.File{Name: "001_first.sql", Content: want}) {
		t.Errorf("%+v", result.Files)
	}
}
