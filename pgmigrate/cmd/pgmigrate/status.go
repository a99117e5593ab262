package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func (a *app) status() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "status", Short: "Show the database's version and what is pending; takes no lock and writes nothing", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, _, err := a.migrator()
			if err != nil {
				return err
			}
			s, err := m.Status(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(newStatusView(s), nil)
			}
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			for _, mig := range s.Migrations {
				state := "pending"
				if mig.Applied {
					state = "applied"
				}
				fmt.Fprintf(w, "%d\t%s\t%s\n", mig.Version, state, mig.Name)
			}
			if err := w.Flush(); err != nil {
				return err
			}
			switch {
			case s.Ahead():
				fmt.Fprintf(a.stdout, "version %d, ahead of the folder, which ends at %d\n", s.Version, s.Latest)
			case !s.Tracked:
				fmt.Fprintf(a.stdout, "version 0 of %d, %d pending: the database has never been migrated\n", s.Latest, s.Pending())
			default:
				fmt.Fprintf(a.stdout, "version %d of %d, %d pending\n", s.Version, s.Latest, s.Pending())
			}
			return nil
		},
	})
}
