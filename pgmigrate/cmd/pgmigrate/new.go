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
	"github.com/page-builder/persistence/pgmigrate/internal/expand"
)

const migrationText = `-- Applied by "pgmigrate up", in a transaction.

---- create above / drop below ----

-- Rolled back by "pgmigrate down", which refuses if there is no statement here.
`

var numbered = regexp.MustCompile(`\A(\d+)_.+\.sql\z`)

func (a *app) newMigration() *cobra.Command {
	var opts expand.Options
	var contract bool
	cmd := &cobra.Command{
		Use: "new NAME", Short: "Create the next migration file",
		Long: `Create the next migration file, without a statement in it.

With --expand it writes all files that rename, retype or split a column while the service runs: new columns that
triggers keep in step with the old one, a backfill, and a migration that switches over when the backfill is done.
It reads the table in the database, which must be at the folder's last version, and changes nothing there. The
migration that drops the old column waits in the folder contract beside the backfills: new --contract NAME gives
it a number.

  pgmigrate new --expand rename --table sites --column name --to title
  pgmigrate new --expand type --table pages --column position --type bigint
  pgmigrate new --expand split --table users --column name --to "first_name=split_part(name, ' ', 1)" \
    --to "last_name=substr(name, length(split_part(name, ' ', 1)) + 2)" --back "first_name || ' ' || last_name"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if opts.Kind == "" || contract {
				for _, flag := range []string{"expand", "table", "column", "to", "type", "using", "back"} {
					if cmd.Flags().Changed(flag) {
						return usageError{fmt.Errorf("--%s goes with --expand rename, type or split", flag)}
					}
				}
			}
			if len(args) == 0 && opts.Kind == "" {
				return usageError{errors.New("requires at least 1 arg(s), only received 0")}
			}
			name := ""
			if len(args) > 0 {
				var err error
				if name, err = fileName(strings.Join(args, " ")); err != nil {
					return err
				}
			}
			dir, err := a.folder()
			if err != nil {
				return err
			}
			switch {
			case opts.Kind != "":
				opts.Name = name
				return a.newExpand(cmd.Context(), dir, opts)
			case contract:
				return a.newContract(dir, name)
			default:
				return a.writeNew(dir, newFile{name: name, text: migrationText})
			}
		},
	}
	f := cmd.Flags()
	f.StringVar(&opts.Kind, "expand", "", "write the files for a change of a column: rename, type or split")
	f.StringVar(&opts.Table, "table", "", "of the column, as in SQL")
	f.StringVar(&opts.Column, "column", "", "that changes, as in SQL")
	f.StringArrayVar(&opts.To, "to", nil, "rename: the new name; split: NAME=EXPRESSION, for each new column")
	f.StringVar(&opts.Type, "type", "", "type: the new type")
	f.StringVar(&opts.Using, "using", "", "type: the new value from the old one, as an expression (default: a cast)")
	f.StringVar(&opts.Back, "back", "",
		"split: the old value from the new columns; type: from the new one (default: a cast)")
	f.BoolVar(&contract, "contract", false, "give the contract that --expand has written under NAME the next number")
	f.StringVar(&a.backfills.dir, "backfills", "",
		"folder of the backfills (default: backfills beside the migrations folder)")
	return cmd
}

// newFile is a file to write: a migration, unless it has a path.
type newFile struct{ name, path, text string }

// writeNew writes the files and prints their paths. It overwrites nothing, and after an error there
// are none.
func (a *app) writeNew(dir string, files ...newFile) (err error) {
	number, width, err := nextNumber(dir)
	if err != nil {
		return err
	}
	var made []string
	defer func() {
		for _, path := range made {
			if err != nil {
				os.Remove(path)
			} else {
				fmt.Fprintln(a.stdout, path)
			}
		}
	}()
	for _, file := range files {
		path := file.path
		if path == "" {
			path = filepath.Join(dir, fmt.Sprintf("%0*d_%s.sql", width, number, file.name))
			number++
		} else if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("new: %w", err)
		}
		// O_EXCL: two people in one checkout must not overwrite each other.
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return fmt.Errorf("new: %w", err)
		}
		made = append(made, path)
		_, err = f.WriteString(file.text)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("new: %w", err)
		}
	}
	return nil
}

var notInName = regexp.MustCompile(`[^\p{Ll}\p{Nd}]+`)

// fileName turns "Add page titles!" into add_page_titles.
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
