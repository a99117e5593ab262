package main

import (
	"fmt"
	"os"
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
			if err := a.table(s); err != nil {
				return err
			}
			if s.Running != nil {
				fmt.Fprintf(a.stdout, "running: %s, statement %d, since %s\n", s.Running.Name, s.Running.Statement,
					s.Running.StartedAt.UTC().Format(time.RFC3339))
			}
			if s.Dirty != nil {
				fmt.Fprintf(a.stdout, "interrupted: %v\n", &pgmigrate.DirtyError{Unfinished: *s.Dirty})
			}
			fmt.Fprintln(a.stdout, summary(s))
			return nil
		},
	})
}

func summary(s pgmigrate.Status) string {
	if s.Ahead() {
		return fmt.Sprintf("version %d, ahead of the folder, which ends at %d", s.Version, s.Latest)
	}
	pending, edited := s.Pending(), 0
	for _, mig := range s.Migrations {
		if mig.Edited {
			edited++
		}
	}
	for _, f := range s.Repeatable {
		if !f.Applied {
			pending++
		}
	}
	text := fmt.Sprintf("version %d of %d, %d pending", s.Version, s.Latest, pending)
	if edited > 0 {
		text += fmt.Sprintf(", %d edited", edited)
	}
	if !s.Tracked {
		text += ": the database has never been migrated"
	}
	return text
}

// colors of the states on a terminal.
var colors = map[string]string{
	"applied": "\x1b[32m", "pending": "\x1b[33m", "running": "\x1b[36m", "edited": "\x1b[31m", "dirty": "\x1b[31m",
}

// table prints a line for each migration. On a terminal it has a header, and colors unless NO_COLOR
// is set.
func (a *app) table(s pgmigrate.Status) error {
	terminal := isTerminal(a.stdout)
	paint := func(state string) string {
		if terminal && os.Getenv("NO_COLOR") == "" {
			return colors[state] + state + "\x1b[0m"
		}
		return state
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	if terminal {
		header := "STATE"
		if os.Getenv("NO_COLOR") == "" {
			header = "\x1b[39m" + header + "\x1b[0m" // as wide to tabwriter as a painted state
		}
		fmt.Fprintf(w, "VERSION\t%s\tFILE\tAPPLIED\tTOOK\tBY\tCHECKSUM\n", header)
	}
	for _, mig := range s.Migrations {
		fmt.Fprintf(w, "%d\t%s\t%s%s\n", mig.Version, paint(state(mig, s)), mig.Name, details(mig))
	}
	for _, f := range s.Repeatable {
		state := "pending"
		switch {
		case f.Applied:
			state = "applied"
		case s.Ahead():
			state = "older" // up leaves it alone
		}
		fmt.Fprintf(w, "-\t%s\t%s\n", paint(state), f.Name)
	}
	return w.Flush()
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

// details returns the columns from the history.
func details(mig pgmigrate.MigrationStatus) string {
	if mig.AppliedAt.IsZero() {
		return ""
	}
	return fmt.Sprintf("\t%s\t%s\t%s (%s)\t%.12s", mig.AppliedAt.UTC().Format(time.RFC3339), rounded(mig.Duration),
		mig.Client, mig.Role, mig.Recorded)
}
