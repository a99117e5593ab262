package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) wait() *cobra.Command {
	return a.limited(a.withJSON(&cobra.Command{
		Use: "wait [VERSION]", Short: "Wait until the database is at VERSION or above; default: the folder's last",
		Args: cobra.MaximumNArgs(1),
		Long: `Wait until the database is at VERSION or above. VERSION defaults to the folder's last.
Wait takes no lock and writes nothing. It also waits for a server that does not answer yet. Set a
--timeout.`,
		ValidArgsFunction: a.completeVersion,
		RunE: func(cmd *cobra.Command, args []string) error {
			m, _, err := a.migrator()
			if err != nil {
				return err
			}
			version := int32(len(m.Migrations()))
			if len(args) > 0 {
				if version, err = parseVersion(args[0]); err != nil {
					return err
				}
			}
			ctx, cancel := a.limit(cmd.Context())
			defer cancel()
			err = m.WaitFor(ctx, version)
			return a.report(doneView{Version: version}, fmt.Sprintf("the database is at version %d or above", version),
				err)
		},
	}))
}
