package main

import (
	"io/fs"
	"os"

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

// repeatable returns the folder of repeatable migrations beside dir, or nil.
func (a *app) repeatable(dir string) (fs.FS, error) {
	path, err := folder.Repeatable("", dir)
	if err != nil || path == "" {
		return nil, err
	}
	return os.DirFS(path), nil
}
