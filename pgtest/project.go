package pgtest

import (
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"os"
	"path/filepath"
)

// project is the folder whose tests run. Projects that share a server do not share templates and
// roles, so that each can be cleaned by itself.
type project struct {
	dir string
	id  string // in the names of its roles
}

// findProject returns the nearest folder upwards with a go.work, else the nearest with a go.mod,
// else the present one.
func findProject() (project, error) {
	here, err := os.Getwd() // go test runs the tests of a package in its folder
	if err != nil {
		return project{}, err
	}
	dir := here
	for _, file := range []string{"go.mod", "go.work"} {
		for at := range upwards(here) {
			if isFile(filepath.Join(at, file)) {
				dir = at
				break
			}
		}
	}
	sum := sha256.Sum256([]byte("pgtest project\x00" + dir))
	return project{dir: dir, id: hex.EncodeToString(sum[:4])}, nil
}

// upwards yields dir and the folders around it.
func upwards(dir string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for yield(dir) && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir)
		}
	}
}

func isFile(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular()
}
