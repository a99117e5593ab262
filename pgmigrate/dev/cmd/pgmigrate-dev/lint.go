package main

import (
	"github.com/spf13/cobra"

	_ "github.com/page-builder/persistence/pgmigrate/dev/lint" // TODO: next commit
)

func (a *app) lint() *cobra.Command {
	return &cobra.Command{
		Use: "lint", Short: "Judge migrations by what they do to a shadow database", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := a.folder()
			return err
		},
	}
}
