package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/page-builder/persistence/pgmigrate/internal/folder"
)

// folder returns the migrations folder: --dir, or the nearest.
func (a *app) folder() (string, error) {
	dir, err := folder.Find(a.dir)
	if err != nil {
		return "", usageError{err}
	}
	return dir, nil
}

// repeatable returns the folder of repeatable migrations next to dir, or nil.
func (a *app) repeatable(dir string) (fs.FS, error) {
	path, err := folder.Repeatable("", dir)
	if err != nil || path == "" {
		return nil, err
	}
	return os.DirFS(path), nil
}

// backfills returns the folder of backfills: path, or the one next to dir, or an empty one.
func (a *app) backfills(path, dir string) (fs.FS, error) {
	named := path != ""
	if !named {
		path = filepath.Join(filepath.Dir(filepath.Clean(dir)), "backfills")
	}
	switch _, err := os.Stat(path); {
	case err == nil:
		return os.DirFS(path), nil
	case errors.Is(err, fs.ErrNotExist) && !named:
		return embed.FS{}, nil
	default:
		return nil, usageError{fmt.Errorf("folder %s: %w", path, errors.Unwrap(err))}
	}
}
