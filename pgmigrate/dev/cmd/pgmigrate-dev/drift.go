package main

import (
	"errors"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/dev/drift"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

// schemaFlags holds the flags of commands that compare schemas.
type schemaFlags struct {
	shadow        string
	extensions    []string
	versionTable  string
	historySchema string
	ignoreSchemas []string
	ignoreTables  []string
}

// databaseFlags adds the flags about pgmigrate's own tables.
func (f *schemaFlags) databaseFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.versionTable, "version-table", pgmigrate.DefaultVersionTable,
		"table that holds the version")
	cmd.Flags().StringVar(&f.historySchema, "history-schema", pgmigrate.DefaultHistorySchema, "schema of the history")
}

// ignoreFlags adds the flags for objects that these migrations do not manage.
func (f *schemaFlags) ignoreFlags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.ignoreSchemas, "ignore-schema", nil, "leave out this schema")
	cmd.Flags().StringArrayVar(&f.ignoreTables, "ignore-table", nil, "leave out this table, as TABLE or SCHEMA.TABLE")
}

// shadowFlags adds the flags about the shadow database.
func (f *schemaFlags) shadowFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.shadow, "shadow-url", os.Getenv("SHADOW_DATABASE_URL"),
		"server for the shadow database (SHADOW_DATABASE_URL); default: a throw-away one")
	cmd.Flags().Lookup("shadow-url").DefValue = "" // help must not show a password
	cmd.Flags().StringArrayVar(&f.extensions, "extension", nil,
		"create this extension in the shadow first; for those that no migration creates")
}

func (a *app) templateData() map[string]any {
	data := make(map[string]any, len(a.data))
	for name, value := range a.data {
		data[name] = value
	}
	return data
}

func (a *app) drift() *cobra.Command {
	var (
		f       schemaFlags
		ignored []string
		json    bool
	)
	cmd := &cobra.Command{
		Use: "drift", Short: "Tell whether the database still is what its migrations make", Args: cobra.NoArgs,
		Long: `Tell whether the database that the environment names (DATABASE_URL) still is what its
migrations make, and show the SQL that would bring it back. The database is only read. The
migrations run on a shadow database, which is made on a throw-away server of the installed
PostgreSQL, or on the server that --shadow-url or SHADOW_DATABASE_URL names, and dropped at the end.

Exit codes: 0 no difference; 1 a difference, or the work failed; 2 the command line, the
configuration or the folder is wrong.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := a.folder()
			if err != nil {
				return err
			}
			repeatable, err := a.repeatable(dir)
			if err != nil {
				return err
			}
			live, err := requiredDatabase()
			if err != nil {
				return err
			}
			report, err := drift.Check(cmd.Context(), live, os.DirFS(dir), drift.Options{
				VersionTable: f.versionTable, HistorySchema: f.historySchema, Data: a.templateData(),
				Repeatable: repeatable, IgnoreRoles: ignored, IgnoreSchemas: f.ignoreSchemas,
				IgnoreTables: f.ignoreTables,
				Shadow:       shadow.Options{URL: f.shadow, Extensions: f.extensions},
			})
			if err != nil {
				return err
			}
			write := report.WriteText
			if json {
				write = report.WriteJSON
			}
			if err := write(a.stdout); err != nil {
				return err
			}
			if report.Drifted() {
				return errFound
			}
			return nil
		},
	}
	f.databaseFlags(cmd)
	f.ignoreFlags(cmd)
	f.shadowFlags(cmd)
	cmd.Flags().StringArrayVar(&ignored, "ignore-role", nil,
		"do not compare grants to this role, nor that it owns something")
	cmd.Flags().BoolVar(&json, "json", false, "print one JSON object")
	return cmd
}

func requiredDatabase() (*pgx.ConnConfig, error) {
	live, err := liveDatabase()
	if err == nil && live == nil {
		err = usageError{
			errors.New("no database: set DATABASE_URL, such as postgres://app:PASSWORD@localhost:5432/app"),
		}
	}
	return live, err
}
