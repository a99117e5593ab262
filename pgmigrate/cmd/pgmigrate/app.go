package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/internal/folder"
)

// app holds what all commands share.
type app struct {
	stdout, stderr io.Writer
	started        bool // a command has begun: the command line was good
	printed        bool // stdout has its JSON object

	dir              string
	repeatable       string
	prefix           string
	versionTable     string
	historySchema    string
	data             map[string]string
	strict           bool
	json             bool
	lockTimeout      time.Duration
	statementTimeout time.Duration
	timeout          time.Duration
	backfills        backfillFlags

	environment string // of the configuration, once it is loaded
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "pgmigrate",
		Short: "Apply tern migrations to a PostgreSQL database that is in use",
		Long: `Apply tern migrations to a PostgreSQL database that is in use.

The environment names the database: DATABASE_URL, or libpq's PG* variables. It must be the address
of the server itself; if DATABASE_URL names PgBouncer, set DIRECT_DATABASE_URL as well, which is then
used instead. The folder is "migrations" next to the nearest go.mod or go.work, or --dir.

Exit codes: 0 success; 1 the database or a migration failed, or the time limit was reached; 2 the
command line, the configuration or the folder is wrong; 3 a person must decide: a section without a
transaction was interrupted, an applied file was edited, or a backfill must run first.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRun: func(*cobra.Command, []string) {
			a.started = true
		},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.dir, "dir", "", "migrations folder (default: migrations, next to the nearest go.mod or go.work)")
	flags.StringVar(&a.repeatable, "repeatable", "",
		"folder of repeatable migrations (default: repeatable, next to the migrations folder, if it exists)")
	flags.StringVar(&a.prefix, "prefix", "",
		"prefix of the environment's variables, such as ANALYTICS for ANALYTICS_DATABASE_URL")
	flags.StringVar(&a.versionTable, "version-table", pgmigrate.DefaultVersionTable, "table that holds the version")
	flags.StringVar(&a.historySchema, "history-schema", pgmigrate.DefaultHistorySchema, "schema of the history")
	flags.BoolVar(&a.strict, "strict", false,
		"turn the folder's warnings into errors and, for up, a database that is ahead")
	flags.StringToStringVar(&a.data, "data", nil, "values for migrations that are templates, as name=value")
	root.AddCommand(
		a.up(), a.to(), a.down(), a.redo(), a.reset(), a.status(), a.plan(), a.history(), a.newMigration(),
		a.baseline(), a.resolve(), a.seed(), a.wait(), a.importFolder(), a.backfill(),
	)
	return root
}

// running adds the flags of commands that change the database.
func (a *app) running(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().DurationVar(&a.lockTimeout, "lock-timeout", pgmigrate.DefaultLockTimeout,
		"how long a migration may queue for a table lock before it rolls back and tries again; 0 for no limit")
	cmd.Flags().DurationVar(&a.statementTimeout, "statement-timeout", 0,
		"cancel a statement that takes longer, including index builds; 0 for no limit")
	return a.limited(a.withJSON(cmd))
}

// limited adds --timeout.
func (a *app) limited(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().DurationVar(&a.timeout, "timeout", 0,
		"give up after this time, including waits for locks; 0 for no limit")
	return cmd
}

func (a *app) withJSON(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&a.json, "json", false, "print one JSON object")
	return cmd
}

// migrator reads the configuration and the folder. It reports a bad folder even without a
// configuration.
func (a *app) migrator(opts ...pgmigrate.Option) (*pgmigrate.Migrator, *pgx.ConnConfig, error) {
	dir, err := a.folder()
	if err != nil {
		return nil, nil, err
	}
	data := make(map[string]any, len(a.data))
	for name, value := range a.data {
		data[name] = value
	}
	opts = append([]pgmigrate.Option{
		pgmigrate.WithLogger(a.warnings()),
		pgmigrate.WithVersionTable(a.versionTable),
		pgmigrate.WithHistorySchema(a.historySchema),
		pgmigrate.WithData(data),
	}, opts...)
	if a.strict {
		opts = append(opts, pgmigrate.WithStrict())
	}
	repeatable, err := folder.Repeatable(a.repeatable, dir)
	if err != nil {
		return nil, nil, usageError{err}
	}
	if repeatable != "" {
		opts = append(opts, pgmigrate.WithRepeatable(os.DirFS(repeatable)))
	}

	conn, configErr := a.connection()
	if configErr != nil {
		_, err = pgmigrate.Check(os.DirFS(dir), opts...)
	}
	var m *pgmigrate.Migrator
	if configErr == nil {
		m, err = pgmigrate.New(conn, os.DirFS(dir), opts...)
	}
	if err != nil {
		return nil, nil, usageError{fmt.Errorf("folder %s: %w", dir, err)}
	}
	if configErr != nil {
		return nil, nil, usageError{configErr}
	}
	return m, conn, nil
}

// connection reads the configuration.
func (a *app) connection() (*pgx.ConnConfig, error) {
	load := pgconfig.Load
	if a.prefix != "" {
		load = func() (pgconfig.Config, error) {
			return pgconfig.LoadFrom(pgconfig.Source{
				Prefix: a.prefix, Environ: pgconfig.Environ(), DotEnv: []string{".env"},
			})
		}
	}
	cfg, err := load()
	if err != nil {
		return nil, err
	}
	a.environment = string(cfg.Environment)
	return cfg.DirectConfig()
}

// warnings logs what the progress does not show: ignored files, locks held by others, a database
// that is ahead.
func (a *app) warnings() *slog.Logger { return a.logger(slog.LevelWarn) }

// logger writes to stderr: stdout is for the result.
func (a *app) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level}))
}

func (a *app) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, a.timeout)
}
