package pgtest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/page-builder/persistence/pgtest"
)

// What is wrong with the migrations fails the test with the file's name, and no log line holds a
// password.
func TestBadMigrations(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fsys fstest.MapFS
		want string
	}{
		"gap": {
			fstest.MapFS{"001_a.sql": {Data: []byte("select 1;")}, "003_c.sql": {Data: []byte("select 1;")}},
			"003_c.sql",
		},
		"none":   {fstest.MapFS{}, "migration"},
		"syntax": {fstest.MapFS{"001_a.sql": {Data: []byte("creat table x ();")}}, "001_a.sql"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{TB: t}
			failures := r.run(func() { pgtest.New(r, pgtest.Migrations(c.fsys)) })
			if len(failures) == 0 || !strings.Contains(failures[0], c.want) {
				t.Errorf("failures: %q", failures)
			}
			if len(r.logs) > 0 {
				t.Errorf("logged: %q", r.logs)
			}
		})
	}
}

// Without an argument it is the nearest migrations folder beside a go.mod or go.work.
func TestNearestMigrations(t *testing.T) {
	root := filepath.Join(t.TempDir(), "a [b* c")
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.work", "go 1.25.0\n")
	write("migrations/001_shared.sql", "create table shared (id int);\n")
	write("service/go.mod", "module service\n")
	write("service/internal/store/store.go", "package store\n")
	write("other/go.mod", "module other\n")
	write("other/migrations/001_others.sql", "create table others (id int);\n")

	t.Chdir(filepath.Join(root, "service/internal/store")) // its module has none: the workspace's
	count(t, pgtest.New(t), "shared")
	t.Chdir(filepath.Join(root, "other")) // the module's own
	count(t, pgtest.New(t), "others")

	alone := t.TempDir()
	t.Chdir(alone)
	r := &recorder{TB: t}
	if failures := r.run(func() {
		pgtest.New(r)
	}); len(failures) != 1 || !strings.Contains(failures[0], "pgtest.Migrations") {
		t.Errorf("without a folder: %q", failures)
	}
	write("third/go.mod", "module third\n")
	if err := os.Remove(filepath.Join(root, "migrations/001_shared.sql")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Join(root, "third"))
	r = &recorder{TB: t}
	if failures := r.run(func() {
		pgtest.New(r)
	}); len(failures) != 1 || !strings.Contains(failures[0], "third/migrations") ||
		!strings.Contains(failures[0], "put them there, or name them with pgtest.Migrations") {
		t.Errorf("with empty folders: %q", failures)
	}
}
