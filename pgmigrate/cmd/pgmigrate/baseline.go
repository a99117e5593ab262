package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) baseline() *cobra.Command {
	return a.limited(a.withJSON(&cobra.Command{
		Use:   "baseline VERSION",
		Short: "Record that an existing database has what the migrations up to VERSION do; runs nothing",
		Args:  cobra.ExactArgs(1),
		Long: `Record that an existing database, which was not made by migrations, has what the
migrations up to VERSION do. It runs nothing. A database that tern has migrated needs no baseline.`,
		ValidArgsFunction: a.completeVersion,
		RunE: func(cmd *cobra.Command, args []string) error {
			version, err := parseVersion(args[0])
			if err != nil {
				return err
			}
			m, _, err := a.migrator()
			if err != nil {
				return err
			}
			ctx, cancel := a.limit(cmd.Context())
			defer cancel()
			err = m.Baseline(ctx, version)
			return a.report(doneView{Version: version}, fmt.Sprintf("version %d recorded, nothing ran", version),
				err)
		},
	}))
}

// report prints the result of a command without other output.
func (a *app) report(view doneView, text string, err error) error {
	if a.json {
		if err != nil {
			view.Error = err.Error()
		}
		return a.printJSON(view, err)
	}
	if err == nil {
		fmt.Fprintln(a.stdout, text)
	}
	return err
}
