package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

func (a *app) seed() *cobra.Command {
	var dir, environment string
	cmd := a.limited(a.withJSON(&cobra.Command{
		Use: "seed", Short: "Run seeds/*.sql and seeds/ENVIRONMENT/*.sql, each once per content", Args: cobra.NoArgs,
		Long: `Run the files seeds/*.sql, then seeds/ENVIRONMENT/*.sql, each in a transaction and once
per content: a file that was edited runs again. The folder "seeds" is next to the migrations folder,
and APP_ENV is the environment.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, _, err := a.migrator()
			if err != nil {
				return err
			}
			if dir == "" {
				migrations, err := a.folder()
				if err != nil {
					return err
				}
				dir = filepath.Join(filepath.Dir(filepath.Clean(migrations)), "seeds")
			}
			if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
				return usageError{fmt.Errorf("seed: no folder %s: create it, or name another with --seeds", dir)}
			}
			if !cmd.Flags().Changed("env") {
				environment = a.environment
			}
			ctx, cancel := a.limit(cmd.Context())
			defer cancel()
			result, err := m.Seed(ctx, os.DirFS(dir), environment)
			if a.json {
				return a.printJSON(newSeedView(environment, result, err), err)
			}
			for _, name := range result.Run {
				fmt.Fprintf(a.stdout, "seeded %s\n", name)
			}
			if err == nil {
				fmt.Fprintf(a.stdout, "environment %s: %d run, %d unchanged\n", environment,
					len(result.Run), len(result.Skipped))
			}
			return err
		},
	}))
	cmd.Flags().StringVar(&dir, "seeds", "", "folder of the seeds (default: seeds, next to the migrations folder)")
	cmd.Flags().StringVar(&environment, "env", "", "the environment, a folder of the seeds (default: APP_ENV)")
	return cmd
}
