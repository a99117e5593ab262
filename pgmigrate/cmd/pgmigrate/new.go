package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/page-builder/persistence/pgmigrate"
)

const migrationText = `-- Applied by "pgmigrate up", in a transaction.

---- create above / drop below ----

-- Rolled back by "pgmigrate down", which refuses while there is no statement here.
`

var numbered = regexp.MustCompile(`\A(\d+)_.+\.sql\z`)

func (a *app) newMigration() *cobra.Command {
	return &cobra.Command{
		Use: "new NAME", Short: "Create the next migration file", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			name, err := fileName(strings.Join(args, " "))
			if err != nil {
				return err
			}
			dir, err := a.folder()
			if err != nil {
				return err
			}
			number, width, err := nextNumber(dir)
			if err != nil {
				return err
			}
			path := filepath.Join(dir, fmt.Sprintf("%0*d_%s.sql", width, number, name))
			// O_EXCL: two people in one checkout must not overwrite each other.
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if err != nil {
				return fmt.Errorf("new: %w", err)
			}
			_, err = f.WriteString(migrationText)
			if err := errors.Join(err, f.Close()); err != nil {
				return fmt.Errorf("new: %w", err)
			}
			fmt.Fprintln(a.stdout, path)
			return nil
		},
	}
}

var notInName = regexp.MustCompile(`[^\p{Ll}\p{Nd}]+`)

// fileName makes add_page_titles of "Add page titles!".
func fileName(name string) (string, error) {
	made := strings.Trim(notInName.ReplaceAllString(strings.ToLower(strings.TrimSuffix(name, ".sql")), "_"), "_")
	if made == "" {
		return "", usageError{fmt.Errorf("name %q: give words, such as create_pages", name)}
	}
	return made, nil
}

// nextNumber returns the number after the folder's last one, and how many digits its first one has.
func nextNumber(dir string) (number, width int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, 0, usageError{fmt.Errorf("new: %w", err)}
	}
	type numberedFile struct {
		name   string
		number int
	}
	var files []numberedFile
	width = len("001")
	for _, e := range entries {
		match := numbered.FindStringSubmatch(e.Name())
		if match == nil || e.IsDir() {
			continue
		}
		n, err := strconv.Atoi(match[1])
		if err != nil {
			return 0, 0, numberingProblem(dir, e.Name())
		}
		if files = append(files, numberedFile{e.Name(), n}); n == 1 {
			width = len(match[1])
		}
	}
	slices.SortFunc(files, func(a, b numberedFile) int { return cmp.Compare(a.number, b.number) })
	for i, f := range files {
		// After a gap, a duplicate or a timestamp there is no right number.
		if f.number != i+1 {
			return 0, 0, numberingProblem(dir, f.name)
		}
	}
	return len(files) + 1, width, nil
}

// numberingProblem lets the folder's own check say what is wrong.
func numberingProblem(dir, name string) error {
	if _, err := pgmigrate.Check(os.DirFS(dir)); err != nil {
		return usageError{fmt.Errorf("new: folder %s: %w", dir, err)}
	}
	return usageError{fmt.Errorf("new: folder %s: %s is not in order", dir, name)}
}
