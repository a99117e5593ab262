package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/dev/generate"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

func (a *app) generate() *cobra.Command {
	var (
		f         schemaFlags
		config    string
		check     bool
		checkSums bool
		against   string
	)
	cmd := &cobra.Command{
		Use: "generate", Short: "Generate typed queries with sqlc, and vet them on the migrated schema",
		Args: cobra.NoArgs,
		Long: `Generate typed queries with sqlc, and vet them on a shadow database that the migrations make.

sqlc is a go tool of the module, a go tool of a module in a folder tools, or in PATH. Checksums of what it
read and wrote go to sqlc.sum: --check compares them, and where sqlc is installed its output too.
--check-sums compares only them, in milliseconds: the first build of sqlc takes minutes.

--against REF needs no sqlc: it prepares the queries of another git revision, such as the one that is
deployed, on the schema of this one.

Exit codes: 0 all is well; 1 the code is stale, a query does not work, or the work failed; 2 the command line,
the configuration or the folder is wrong.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := a.folder()
			if err != nil {
				return err
			}
			repeatable, err := a.repeatable(dir)
			if err != nil {
				return err
			}
			live, err := liveDatabase()
			if err != nil {
				return err
			}
			options := shadow.Options{
				URL: f.shadow, Live: live, Extensions: f.extensions, Migrations: os.DirFS(dir),
				Migrate: []pgmigrate.Option{
					pgmigrate.WithData(a.templateData()), pgmigrate.WithRepeatable(repeatable),
				},
			}
			if against != "" {
				return a.runAgainst(cmd, options, against)
			}
			if config == "" {
				if config, err = findConfig(); err != nil {
					return err
				}
			}
			if checkSums {
				return generate.CheckSums(config)
			}
			opts := generate.Options{Config: config, Shadow: options, Output: a.stdout}
			if !check {
				return generate.Run(cmd.Context(), opts)
			}
			withSQLC, err := generate.Check(cmd.Context(), opts)
			if err == nil && !withSQLC {
				fmt.Fprintln(a.stderr, "sqlc is not installed: compared checksums only")
			}
			return err
		},
	}
	f.shadowFlags(cmd)
	cmd.Flags().StringVar(&config, "config", "", "sqlc's configuration (default: the nearest sqlc.yaml)")
	cmd.Flags().BoolVar(&check, "check", false, "write nothing; fail if the generated code is stale")
	cmd.Flags().
		StringVar(&against, "against", "", "prepare the queries of this git revision on the schema of the migrations")
	cmd.Flags().BoolVar(&checkSums, "check-sums", false, "write nothing; compare checksums, without sqlc")
	cmd.MarkFlagsMutuallyExclusive("check", "check-sums", "against")
	cmd.AddCommand(&cobra.Command{
		Use: "init", Short: "Write sqlc.yaml", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			dir, err := a.folder()
			if err != nil {
				return err
			}
			if dir, err = filepath.Abs(dir); err != nil {
				return err
			}
			here, err := os.Getwd()
			if err != nil {
				return err
			}
			path, err := generate.Init(here, dir)
			if err != nil {
				return err
			}
			fmt.Fprintln(a.stdout, path)
			return nil
		},
	})
	return cmd
}

func (a *app) runAgainst(cmd *cobra.Command, options shadow.Options, ref string) (err error) {
	db, err := shadow.Open(cmd.Context(), options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tried, broken, err := generate.Against(cmd.Context(), db, ".", ref)
	if err != nil {
		return err
	}
	for _, b := range broken {
		fmt.Fprintln(a.stdout, b)
	}
	fmt.Fprintf(a.stdout, "%d queries of %s, %d do not work on this schema\n", tried, ref, len(broken))
	if len(broken) > 0 {
		return errFound
	}
	return nil
}

// findConfig looks in the working directory and above it.
func findConfig() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		for _, name := range []string{"sqlc.yaml", "sqlc.yml", "sqlc.json"} {
			if _, err := os.Stat(filepath.Join(at, name)); err == nil {
				return filepath.Join(at, name), nil
			}
		}
		if at == filepath.Dir(at) {
			return "", usageError{
				errors.New(
					"there is no sqlc.yaml: write one with pgmigrate-dev generate init, or name it with --config",
				),
			}
		}
	}
}
