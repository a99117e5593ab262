package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/page-builder/persistence/pgmigrate/dev/diff"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

func (a *app) diff() *cobra.Command {
	var (
		f    schemaFlags
		path string
		dry  bool

		withBackfills bool
	)
	cmd := &cobra.Command{
		Use: "diff NAME", Short: "Write the migration that leads to schema.sql", Args: cobra.MinimumNArgs(1),
		Long: `Write the migration, or migrations, that lead from what the folder makes to the schema
in schema.sql, which is SQL that makes it on an empty database. Each is applied to a shadow
database, and taken back, before a file is written. No database but shadows is touched; if the
environment names one (DATABASE_URL), it is asked for its version.

lint judges the files, and what it finds is printed. What PostgreSQL refuses is left out and named.

Exit codes: 0 files were written, or nothing differs; 1 a person has to write a part, or the work
failed; 2 the command line, the configuration or the folder is wrong.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := migrationName(strings.Join(args, " "))
			if err != nil {
				return err
			}
			dir, err := a.folder()
			if err != nil {
				return err
			}
			if path == "" {
				path = defaultSchema(dir)
			}
			wanted, err := os.ReadFile(path)
			if err != nil {
				return usageError{
					fmt.Errorf("the wanted schema: %w; write it, make it with pgmigrate-dev pull, or name another "+
						"file with --schema", err),
				}
			}
			backfills := filepath.Join(filepath.Dir(filepath.Clean(dir)), "backfills")
			repeatable, err := a.repeatable(dir)
			if err != nil {
				return err
			}
			live, err := liveDatabase()
			if err != nil {
				return err
			}
			result, err := diff.Make(cmd.Context(), os.DirFS(dir), string(wanted), name, diff.Options{
				VersionTable: f.versionTable, HistorySchema: f.historySchema, Data: a.templateData(),
				Repeatable: repeatable, Backfills: withBackfills,
				Shadow: shadow.Options{URL: f.shadow, Live: live, Extensions: f.extensions},
			})
			if result == nil {
				return err
			}
			for _, note := range result.Notes {
				fmt.Fprintf(a.stderr, "note: %s\n", note)
			}
			if len(result.Files) == 0 && err == nil {
				fmt.Fprintf(a.stdout, "nothing to do: the migrations make %s\n", path)
				return nil
			}
			if !dry {
				if err := writeBoth(dir, result.Files, backfills, result.Backfills); err != nil {
					return err
				}
			}
			for i, file := range append(result.Files, result.Backfills...) {
				in := dir
				if i >= len(result.Files) {
					in = backfills
				}
				fmt.Fprintln(a.stdout, filepath.Join(in, file.Name))
				if dry {
					fmt.Fprintf(a.stdout, "\n%s\n", file.Content)
				}
			}
			return err // what a person has to write, besides the files
		},
	}
	f.databaseFlags(cmd)
	f.shadowFlags(cmd)
	cmd.Flags().StringVar(&path, "schema", "", "the wanted schema (default: schema.sql beside the migrations folder)")
	cmd.Flags().BoolVar(&withBackfills, "backfill", false,
		"write a backfill for each column that becomes NOT NULL, and let the migration wait for it")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "print the files instead of writing them")
	return cmd
}

// writeBoth writes all files or none.
func writeBoth(dir string, files []diff.File, backfillDir string, backfills []diff.File) error {
	if len(backfills) > 0 {
		if err := os.MkdirAll(backfillDir, 0o755); err != nil {
			return err
		}
		if err := diff.Write(backfillDir, backfills); err != nil {
			return err
		}
	}
	err := diff.Write(dir, files)
	if err != nil {
		for _, f := range backfills {
			os.Remove(filepath.Join(backfillDir, f.Name))
		}
	}
	return err
}

// defaultSchema returns a path next to the folder. Inside it the file would look like a migration.
func defaultSchema(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		return filepath.Join(filepath.Dir(abs), "schema.sql")
	}
	return "schema.sql"
}

var notInName = regexp.MustCompile(`[^\p{Ll}\p{Nd}]+`)

// migrationName turns "Add page titles!" into add_page_titles, as pgmigrate new does.
func migrationName(name string) (string, error) {
	made := strings.Trim(notInName.ReplaceAllString(strings.ToLower(name), "_"), "_")
	if made == "" {
		return "", usageError{errors.New("give words for the migration's name, such as add_page_titles")}
	}
	return made, nil
}
