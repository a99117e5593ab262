package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/page-builder/persistence/pgmigrate"
)

func (a *app) up() *cobra.Command {
	backfill := false
	cmd := a.running(&cobra.Command{
		Use: "up", Short: "Apply all pending migrations", Args: cobra.NoArgs,
		Long: `Apply all pending migrations. Up stops before a migration with the comment
-- pgmigrate:requires-backfill NAME until that backfill is done, or runs it first with --backfill.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if backfill {
				return a.upBackfilling(cmd)
			}
			return a.migrate(cmd.Context(), func(ctx context.Context, m *pgmigrate.Migrator) (pgmigrate.Result, error) {
				return m.Up(ctx)
			})
		},
	})
	cmd.Flags().BoolVar(&backfill, "backfill", false, "run the backfills that migrations require")
	return a.backfilling(cmd)
}

func (a *app) to() *cobra.Command {
	return a.running(&cobra.Command{
		Use: "to VERSION", Short: "Migrate up or down to a version; 0 is an empty database", Args: cobra.ExactArgs(1),
		ValidArgsFunction: a.completeVersion,
		RunE: func(cmd *cobra.Command, args []string) error {
			version, err := parseVersion(args[0])
			if err != nil {
				return err
			}
			return a.migrate(cmd.Context(), func(ctx context.Context, m *pgmigrate.Migrator) (pgmigrate.Result, error) {
				return m.To(ctx, version)
			})
		},
	})
}

func (a *app) down() *cobra.Command {
	var steps int32
	cmd := a.running(&cobra.Command{
		Use: "down", Short: "Roll back the last applied migration", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if steps < 1 {
				return usageError{fmt.Errorf("--steps %d: at least 1", steps)}
			}
			return a.migrate(cmd.Context(), func(ctx context.Context, m *pgmigrate.Migrator) (pgmigrate.Result, error) {
				if steps == 1 {
					return m.Down(ctx)
				}
				// Several calls of Down would find a missing down section only after they have
				// rolled back others.
				s, err := m.Status(ctx)
				if err != nil {
					return pgmigrate.Result{}, err
				}
				return m.To(ctx, max(s.Version-steps, 0))
			})
		},
	})
	cmd.Flags().Int32Var(&steps, "steps", 1, "how many migrations to roll back")
	return cmd
}

func (a *app) redo() *cobra.Command {
	return a.running(&cobra.Command{
		Use: "redo", Short: "Roll back the last applied migration and apply it again", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.migrate(cmd.Context(), func(ctx context.Context, m *pgmigrate.Migrator) (pgmigrate.Result, error) {
				return m.Redo(ctx)
			})
		},
	})
}

// change is the work of a command on the database.
type change func(context.Context, *pgmigrate.Migrator) (pgmigrate.Result, error)

// migrate runs a command that changes the database, with progress lines and the result.
func (a *app) migrate(ctx context.Context, do change) error {
	return a.migrateIf(ctx, func(*pgx.ConnConfig) error { return nil }, do)
}

// migrateIf refuses where acceptable returns an error.
func (a *app) migrateIf(ctx context.Context, acceptable func(*pgx.ConnConfig) error, do change) error {
	if a.lockTimeout < 0 || a.timeout < 0 || a.statementTimeout < 0 {
		return usageError{fmt.Errorf("a time limit cannot be negative")}
	}
	lines := a.progress()
	m, conn, err := a.migrator(pgmigrate.WithProgress(lines.event), pgmigrate.WithLockTimeout(a.lockTimeout),
		pgmigrate.WithStatementTimeout(a.statementTimeout))
	if err != nil {
		return err
	}
	if err := acceptable(conn); err != nil {
		return err
	}
	ctx, cancel := a.limit(ctx)
	defer cancel()
	result, err := do(ctx, m)
	lines.end()
	if a.json {
		return a.printJSON(newResultView(result, err), err)
	}
	if err != nil {
		return err
	}
	switch {
	case result.Ahead():
		fmt.Fprintf(a.stdout, "nothing to do: the database is at version %d, ahead of the folder's %d\n",
			result.To, result.Latest)
	case len(result.Steps) == 0 && len(result.Repeated) == 0:
		fmt.Fprintf(a.stdout, "nothing to do: the database is at version %d of %d\n", result.To, result.Latest)
	default:
		steps := "1 migration"
		if len(result.Steps) != 1 {
			steps = fmt.Sprintf("%d migrations", len(result.Steps))
		}
		if len(result.Repeated) > 0 {
			steps += fmt.Sprintf(" and %d repeatable", len(result.Repeated))
		}
		fmt.Fprintf(a.stdout, "version %d of %d: %s in %s\n", result.To, result.Latest, steps, rounded(result.Duration))
	}
	return nil
}

// rounded keeps three digits or so.
func rounded(d time.Duration) time.Duration {
	switch {
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond)
	case d < time.Second:
		return d.Round(time.Millisecond)
	default:
		return d.Round(10 * time.Millisecond)
	}
}
