package pgserver

import (
	"os"
	"path/filepath"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/binaries"
)

// Programs returns the paths of a program of PostgreSQL, such as pg_dump, in the places where
// [Acquire] looks for a server and in that order: PGTEST_BINDIR, PATH, pg_config --bindir, and the
// usual folders of distributions, newest version first. The program may have any version, and its
// folder need not have a server. The result is empty if there is none.
func Programs(name string) []string {
	var found []string
	seen := map[string]bool{}
	add := func(dir string) {
		path := filepath.Join(dir, name)
		if fi, err := os.Stat(path); dir == "" || err != nil || fi.IsDir() || fi.Mode()&0o111 == 0 {
			return
		}
		// One program may be in PATH by a link.
		if real, err := filepath.EvalSymlinks(path); err == nil {
			if seen[real] {
				return
			}
			seen[real] = true
		}
		found = append(found, path)
	}
	add(os.Getenv("PGTEST_BINDIR"))
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		add(dir)
	}
	for _, place := range binaries.Here().Places() {
		add(place.Dir())
	}
	return found
}
