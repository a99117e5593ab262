package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/page-builder/persistence/pgmigrate/dev/schema"
)

func (a *app) pull() *cobra.Command {
	var (
		f     schemaFlags
		path  string
		force bool
	)
	cmd := &cobra.Command{
		Use: "pull", Short: "Write schema.sql from the database", Args: cobra.NoArgs,
		Long: `Write the schema of the database that the environment names (DATABASE_URL) to
schema.sql: pg_dump's, without owners, the version table and the history. The database is only read.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if path == "" {
				dir, err := a.folder()
				if err != nil {
					return err
				}
				path = defaultSchema(dir)
			}
			if _, err := os.Lstat(path); err == nil && !force {
				return usageError{
					fmt.Errorf("%s exists: name another file with --schema, or overwrite it with --force", path),
				}
			}
			live, err := requiredDatabase()
			if err != nil {
				return err
			}
			var text bytes.Buffer
			err = schema.Pull(cmd.Context(), &text, live,
				schema.Options{
					VersionTable: f.versionTable, HistorySchema: f.historySchema,
					IgnoreSchemas: f.ignoreSchemas, IgnoreTables: f.ignoreTables,
				})
			if err != nil {
				return fmt.Errorf("pull: %w", err)
			}
			if err := replaceFile(path, text.Bytes()); err != nil {
				return fmt.Errorf("pull: %w", err)
			}
			fmt.Fprintln(a.stdout, path)
			return nil
		},
	}
	f.databaseFlags(cmd)
	f.ignoreFlags(cmd)
	cmd.Flags().StringVar(&path, "schema", "", "the file (default: schema.sql beside the migrations folder)")
	cmd.Flags().BoolVar(&force, "force", false, "overwrite the file")
	return cmd
}

// replaceFile replaces the file as a whole. After an error the old one remains.
func replaceFile(path string, content []byte) error {
	mode := fs.FileMode(0o644)
	if fi, err := os.Stat(path); err == nil {
		mode = fi.Mode().Perm()
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".pgmigrate-dev-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
