package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/page-builder/persistence/pgmigrate"
)

func parseVersion(arg string) (int32, error) {
	version, err := strconv.ParseInt(arg, 10, 32)
	if err != nil {
		return 0, usageError{fmt.Errorf("version %q: give a migration's number", arg)}
	}
	return int32(version), nil
}

// completeVersion offers the folder's migrations to the shell, without a database.
func (a *app) completeVersion(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	dir, err := a.folder()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	migrations, err := pgmigrate.Check(os.DirFS(dir))
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var choices []string
	for _, m := range migrations {
		choices = append(choices, fmt.Sprintf("%d\t%s", m.Version, m.Name))
	}
	return choices, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}
