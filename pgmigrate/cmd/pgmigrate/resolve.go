package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/page-builder/persistence/pgmigrate"
)

func (a *app) resolve() *cobra.Command {
	var applied, rolledBack bool
	cmd := a.limited(a.withJSON(&cobra.Command{
		Use:   "resolve VERSION --applied|--rolled-back",
		Short: "Record what became of a migration that was interrupted; runs nothing", Args: cobra.ExactArgs(1),
		Long: `Record what became of a migration without a transaction that was interrupted. Resolve runs
nothing: look at the database, finish or undo the migration by hand, then say which of the two it was.
--applied also accepts a file that was edited after it was applied.`,
		ValidArgsFunction: a.completeVersion,
		RunE: func(cmd *cobra.Command, args []string) error {
			version, err := parseVersion(args[0])
			if err != nil {
				return err
			}
			if applied == rolledBack {
				return usageError{errors.New("resolve: give either --applied or --rolled-back")}
			}
			resolution := pgmigrate.ResolveApplied
			if rolledBack {
				resolution = pgmigrate.ResolveRolledBack
			}
			m, _, err := a.migrator()
			if err != nil {
				return err
			}
			ctx, cancel := a.limit(cmd.Context())
			defer cancel()
			err = m.Resolve(ctx, version, resolution)
			return a.report(doneView{Version: version, Resolution: string(resolution)},
				fmt.Sprintf("version %d recorded as %s", version, resolution), err)
		},
	}))
	cmd.Flags().BoolVar(&applied, "applied", false, "all of the migration is in the database")
	cmd.Flags().BoolVar(&rolledBack, "rolled-back", false, "nothing of it is")
	return cmd
}
