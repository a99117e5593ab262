package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/page-builder/persistence/pgmigrate"
)

func (a *app) history() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "history", Short: "Show what was done to the database, when and by whom; takes no lock and writes nothing",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, _, err := a.migrator()
			if err != nil {
				return err
			}
			entries, err := m.History(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(newHistoryView(entries), nil)
			}
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			for _, e := range entries {
				what := string(e.Action)
				if e.Progress != pgmigrate.ProgressDone {
					what = fmt.Sprintf("%s, %s at statement %d", e.Action, e.Progress, e.Statement)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s (%s)\n", e.StartedAt.UTC().Format(time.RFC3339), e.Name, what,
					rounded(e.Duration), e.Client, e.Role)
			}
			return w.Flush()
		},
	})
}
