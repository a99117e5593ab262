package main

import (
	"io"

	"github.com/spf13/cobra"
)

// app holds what all commands share.
type app struct {
	stdout, stderr io.Writer
	started        bool // a command has begun: the command line was good

	dir  string
	data map[string]string
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "pgmigrate-dev",
		Short: "Write and review tern migrations",
		Long: `Write and review tern migrations.

Exit codes: 0 nothing was found; 1 something was found, or the work failed; 2 the command line, the
configuration or the folder is wrong.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRun: func(*cobra.Command, []string) {
			a.started = true
		},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.dir, "dir", "", "migrations folder (default: migrations beside the nearest go.mod or go.work)")
	flags.StringToStringVar(&a.data, "data", nil, "values for migrations that are templates, as name=value")
	root.AddCommand(a.lint(), a.diff(), a.drift(), a.pull(), a.generate())
	return root
}
