package flock_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/flock"
)

func TestTry(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "lock")
	first, err := flock.Try(path)
	if err != nil || first == nil {
		t.Fatalf("%v, %v", first, err)
	}
	if second, err := flock.Try(path); err != nil || second != nil {
		t.Errorf("while it is held: %v, %v", second, err)
	}
	first.Close()
	again, err := flock.Try(path)
	if err != nil || again == nil {
		t.Fatalf("%v, %v", again, err)
	}
	again.Close()
	if lock, err := flock.Try(filepath.Join(dir, "none", "lock")); !errors.Is(err, fs.ErrNotExist) || lock != nil {
		t.Errorf("no folder: %v, %v", lock, err)
	}
}
