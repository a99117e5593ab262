package flock_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
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
	old, err := flock.Try(path)
	if err != nil || old == nil {
		t.Fatalf("%v, %v", old, err)
	}
	os.Remove(path) // by its holder
	newer, err := flock.Try(path)
	if err != nil || newer == nil {
		t.Errorf("another file: %v, %v", newer, err)
	}
	old.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if lock, err := flock.Wait(ctx, path); !errors.Is(err, enough) || lock != nil {
		t.Errorf("while the other file is locked: %v, %v", lock, err)
	}
	if lock, err := flock.Try(filepath.Join(dir, "none", "lock")); !errors.Is(err, fs.ErrNotExist) || lock != nil {
		t.Errorf("no folder: %v, %v", lock, err)
	}
}
