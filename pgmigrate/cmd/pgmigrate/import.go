package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/importer"
)

func (a *app) importFolder() *cobra.Command {
	return &cobra.Command{
		Use: "import DIR --dir NEW", Short: "Convert the migrations of another tool to tern's format",
		Args: cobra.ExactArgs(1),
		Long: `Convert the migrations in DIR to tern's format and write them to the folder --dir, which is
created if it is missing. DIR does not change, and no file is overwritten. Import reads the files of
goose, golang-migrate, sql-migrate, dbmate, Prisma and Flyway, and plain folders of SQL files. It
prints what a person must check.`,
		RunE: func(_ *cobra.Command, args []string) error {
			if a.dir == "" {
				return usageError{errors.New("import: name the new folder with --dir")}
			}
			result, err := importer.Convert(os.DirFS(args[0]))
			if err != nil {
				return usageError{err}
			}
			if err := writeNew(a.dir, result.Files); err != nil {
				return usageError{err}
			}
			for _, f := range result.Files {
				fmt.Fprintf(a.stdout, "%s from %s\n", filepath.Join(a.dir, f.Name), f.From)
			}
			for _, note := range result.Notes {
				fmt.Fprintf(a.stdout, "check %s\n", note)
			}
			var problems []pgmigrate.Problem
			if _, err := pgmigrate.Check(os.DirFS(a.dir), pgmigrate.WithStrict()); err != nil {
				var folder *pgmigrate.FolderError
				if !errors.As(err, &folder) {
					return err
				}
				problems = folder.Problems
			}
			for _, p := range problems {
				fmt.Fprintf(a.stdout, "check %v\n", p)
			}
			fmt.Fprintf(a.stdout, "%d migrations of %s converted, %d to check\n", len(result.Files), result.Tool,
				len(result.Notes)+len(problems))
			fmt.Fprintf(a.stdout, "for a database that has all of them: pgmigrate baseline %d --dir %s\n",
				len(result.Files),
				a.dir)
			return nil
		},
	}
}

// writeNew writes the files into dir. It refuses a folder that holds SQL already.
func writeNew(dir string, files []importer.File) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	there, err := fs.Glob(os.DirFS(dir), "*.sql")
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	if len(there) > 0 {
		return fmt.Errorf("import: %s holds SQL files already: name an empty folder with --dir", dir)
	}
	for _, f := range files {
		out, err := os.OpenFile(filepath.Join(dir, f.Name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return fmt.Errorf("import: %w", err)
		}
		_, err = out.WriteString(f.Body)
		if err := errors.Join(err, out.Close()); err != nil {
			return fmt.Errorf("import: %w", err)
		}
	}
	return nil
}
