package generate

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A folder whose name would be a pattern is read like any other.
func TestExpand(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "[odd*")
	if err := os.MkdirAll(filepath.Join(dir, "q[1]"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.sql", "q[1]/b.sql", "q[1]/c.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string][]string{
		"a.sql": {"a.sql"}, "*.sql": {"a.sql"}, "q[1]": {"q[1]/b.sql"}, "*/*.sql": {"q[1]/b.sql"}, "none": nil,
	} {
		got, err := expand(dir, path, ".sql")
		if err != nil && !os.IsNotExist(err) || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", path, got, err, want)
		}
	}
}
