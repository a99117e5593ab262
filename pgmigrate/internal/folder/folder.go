// Package folder finds the migrations for the commands.
package folder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Find returns the migrations folder: dir, or if dir is empty the folder "migrations" next to the
// nearest go.mod or go.work upwards that has one. A workspace may keep its migrations at the root,
// so a module without the folder does not end the search.
func Find(dir string) (string, error) {
	if dir != "" {
		if fi, err := os.Stat(dir); err != nil {
			return "", fmt.Errorf("folder %s: %w", dir, errors.Unwrap(err))
		} else if !fi.IsDir() {
			return "", fmt.Errorf("folder %s: not a folder", dir)
		}
		return dir, nil
	}
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	var tried []string
	for at := start; ; at = filepath.Dir(at) {
		if isFile(filepath.Join(at, "go.mod")) || isFile(filepath.Join(at, "go.work")) {
			candidate := filepath.Join(at, "migrations")
			if fi, err := os.Stat(candidate); err == nil && fi.IsDir() {
				return candidate, nil
			}
			tried = append(tried, candidate)
		}
		if at == filepath.Dir(at) {
			break
		}
	}
	if len(tried) == 0 {
		return "", fmt.Errorf("no go.mod or go.work in %s or above: name the migrations folder with --dir", start)
	}
	return "", fmt.Errorf("no migrations folder: looked for %q: create it, or name another with --dir", tried)
}

// Repeatable returns the folder of repeatable migrations: dir, or if dir is empty the folder
// "repeatable" next to the migrations, or "" if there is none.
func Repeatable(dir, migrations string) (string, error) {
	named := dir != ""
	if !named {
		dir = filepath.Join(filepath.Dir(filepath.Clean(migrations)), "repeatable")
	}
	fi, err := os.Stat(dir)
	switch {
	case err == nil && fi.IsDir():
		return dir, nil
	case !named && errors.Is(err, os.ErrNotExist):
		return "", nil
	default:
		return "", fmt.Errorf("no folder %s: create it, or name another with --repeatable", dir)
	}
}

func isFile(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular()
}
