package folder_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgmigrate/internal/folder"
)

// A workspace with migrations at its root, a module with its own, and one without.
func TestFind(t *testing.T) { // the working directory is the process's
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{
		"space/migrations", "space/own/migrations", "space/own/deep", "space/without", "empty", "nothing",
	} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"space/go.work", "space/own/go.mod", "space/without/go.mod", "empty/go.mod"} {
		if err := os.WriteFile(filepath.Join(root, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ in, dir, want, problem string }{
		{in: "space/own/deep", want: "space/own/migrations"},
		{in: "space/without", want: "space/migrations"},
		{in: "space", dir: "own", want: "own"},
		{in: "space", dir: "other", problem: "folder other: no such file or directory"},
		{in: "space", dir: "go.work", problem: "folder go.work: not a folder"},
		{in: "empty", problem: "no migrations folder: looked for"},
		{in: "nothing", problem: "no go.mod or go.work in"},
	} {
		t.Run(c.in+" "+c.dir, func(t *testing.T) {
			t.Chdir(filepath.Join(root, c.in))
			got, err := folder.Find(c.dir)
			if c.problem != "" {
				if err == nil || !strings.Contains(err.Error(), c.problem) {
					t.Fatalf("got %q, %v, want an error with %q", got, err, c.problem)
				}
				return
			}
			want := c.want
			if c.dir == "" {
				want = filepath.Join(root, want)
			}
			if err != nil || got != want {
				t.Fatalf("got %q, %v, want %q", got, err, want)
			}
		})
	}
}
