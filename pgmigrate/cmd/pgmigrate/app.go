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
)

// app holds what all commands share.
type app struct {
	stdout, stderr io.Writer
	started        bool // a command has begun: the command line was good
	printed        bool // stdout has its JSON object

	dir              string
	versionTable     string
	historySchema    string
	data             map[string]string
	strict           bool
	json             bool
	lockTimeout      time.Duration
	statementTimeout time.Duration
	timeout          time.Duration

	environment string // of the configuration, once it is loaded
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "pgmigrate",
		Short: "Apply tern migrations to a PostgreSQL database that is in use",
		Long: `Apply tern migrations to a PostgreSQL database that is in use.

The database is what the environment names: DATABASE_URL, or libpq's PG* variables. It must be the
server's own address; where those name PgBouncer, set DIRECT_DATABASE_URL beside them, which is used
instead. The folder is "migrations" beside the nearest go.mod or go.work, or --dir.

Exit codes: 0 success; 1 the database or a migration failed, or the time was up; 2 the command line,
the configuration or the folder is wrong; 3 a person has to decide: a section without a transaction
was interrupted, or an applied file was edited.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRun: func(*cobra.Command, []string) {
			a.started = true
		},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.dir, "dir", "", "migrations folder (default: migrations beside the nearest go.mod or go.work)")
	flags.StringVar(&a.versionTable, "version-table", pgmigrate.DefaultVersionTable, "table that holds the version")
	flags.StringVar(&a.historySchema, "history-schema", pgmigrate.DefaultHistorySchema, "schema of the history")
	flags.BoolVar(&a.strict, "strict", false, "make the folder's warnings, and for up a database that is ahead, errors")
	flags.StringToStringVar(&a.data, "data", nil, "values for migrations that are templates, as name=value")
	root.AddCommand(
		a.up(), a.to(), a.down(), a.redo(), a.reset(), a.status(), a.plan(), a.history(), a.newMigration(),
		a.baseline(), a.resolve(), a.seed(), a.wait(), a.importFolder(),
	)
	return root
}

// running adds the flags of commands that change the database.
func (a *app) running(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().DurationVar(&a.lockTimeout, "lock-timeout", pgmigrate.DefaultLockTimeout,
		"how long a migration may queue for a table lock before it lets others through and tries again; 0 for no limit")
	cmd.Flags().DurationVar(&a.statementTimeout, "statement-timeout", 0,
		"cancel a statement that takes longer, index builds included; 0 for no limit")
	return a.limited(a.withJSON(cmd))
}

// limited adds the limit on the whole.
func (a *app) limited(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().DurationVar(&a.timeout, "timeout", 0,
		"give up after this time, waiting for locks included; 0 for no limit")
	return cmd
}

func (a *app) withJSON(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&a.json, "json", false, "print one JSON object")
	return cmd
}

// migrator reads the folder, then the configuration, so that a bad folder shows without a database.
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

	if _, err := pgmigrate.Check(os.DirFS(dir), opts...); err != nil {
		return nil, nil, usageError{fmt.Errorf("folder %s: %w", dir, err)}
	}
	cfg, err := pgconfig.Load()
	if err != nil {
		return nil, nil, usageError{err}
	}
	a.environment = string(cfg.Environment)
	conn, err := cfg.DirectConfig()
	if err != nil {
		return nil, nil, usageError{err}
	}
	m, err := pgmigrate.New(conn, os.DirFS(dir), opts...)
	if err != nil {
		return nil, nil, usageError{err}
	}
	return m, conn, nil
}

// warnings logs what the progress does not show: ignored files, locks in the way, a database that
// is ahead.
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
