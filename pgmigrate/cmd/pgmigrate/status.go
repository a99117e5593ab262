package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/page-builder/persistence/pgmigrate"
)

func (a *app) status() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use: "status", Short: "Show the database's version and what is pending; takes no lock and writes nothing",
		Args: cobra.NoArgs,
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
				fmt.Fprintf(w, "%d\t%s\t%s%s\n", mig.Version, state(mig, s), mig.Name, details(mig))
			}
			if err := w.Flush(); err != nil {
				return err
			}
			if s.Running != nil {
				fmt.Fprintf(a.stdout, "running: %s, statement %d, since %s\n", s.Running.Name, s.Running.Statement,
					s.Running.StartedAt.UTC().Format(time.RFC3339))
			}
			if s.Dirty != nil {
				fmt.Fprintf(a.stdout, "interrupted: %v\n", &pgmigrate.DirtyError{Unfinished: *s.Dirty})
			}
			switch {
			case s.Ahead():
				fmt.Fprintf(a.stdout, "version %d, ahead of the folder, which ends at %d\n", s.Version, s.Latest)
			case !s.Tracked:
				fmt.Fprintf(a.stdout, "version 0 of %d, %d pending: the database has never been migrated\n",
					s.Latest, s.Pending())
			default:
				fmt.Fprintf(a.stdout, "version %d of %d, %d pending\n", s.Version, s.Latest, s.Pending())
			}
			return nil
		},
	})
}

func state(mig pgmigrate.MigrationStatus, s pgmigrate.Status) string {
	switch {
	case s.Dirty != nil && s.Dirty.Version == mig.Version:
		return "dirty"
	case s.Running != nil && s.Running.Version == mig.Version:
		return "running"
	case mig.Edited:
		return "edited"
	case mig.Applied:
		return "applied"
	default:
		return "pending"
	}
}

// details are what the history knows, in columns.
func details(mig pgmigrate.MigrationStatus) string {
	if mig.AppliedAt.IsZero() {
		return ""
	}
	return fmt.Sprintf("\t%s\t%s\t%s (%s)\t%.12s", mig.AppliedAt.UTC().Format(time.RFC3339), rounded(mig.Duration),
		mig.Client, mig.Role, mig.Recorded)
}
