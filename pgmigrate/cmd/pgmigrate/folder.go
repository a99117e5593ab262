package main

import "github.com/page-builder/persistence/pgmigrate/internal/folder"

// folder returns the migrations folder: --dir, or the nearest.
func (a *app) folder() (string, error) {
	dir, err := folder.Find(a.dir)
	if err != nil {
		return "", usageError{err}
	}
	return dir, nil
}
