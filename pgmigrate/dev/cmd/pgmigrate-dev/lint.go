package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/dev/lint"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

// lintFlags holds the flags of the command lint.
type lintFlags struct {
	format string
	since  int32
	all    bool
	rules  bool
	shadow string

	backfills string
	opts      lint.Options
}

func (a *app) lint() *cobra.Command {
	f := &lintFlags{}
	cmd := &cobra.Command{
		Use: "lint [FILE|VERSION]...", Short: "Judge migrations by what they do to a shadow database",
		Long: `Judge migrations by what they do to a shadow database: the locks that they take, what
they scan and rewrite, what they drop.

Which ones: those that are named; otherwise those above --since; otherwise, if the environment names
a database (DATABASE_URL), those that are pending there, which is only read; otherwise the newest.
The repeatable migrations are judged with the last one, each as it runs again after an edit.

The shadow is made on a throw-away server of the installed PostgreSQL, or on the server that
--shadow-url or SHADOW_DATABASE_URL names, and dropped at the end.

Exit codes: 0 no errors (there may be warnings and hints); 1 an error was found, or the work failed;
2 the command line, the configuration or the folder is wrong.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.rules {
				return a.printRules()
			}
			return a.runLint(cmd.Context(), f, args, cmd.Flags().Changed("since"))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.format, "format", "text", "text, json, or github for annotations of a pull request")
	flags.Int32Var(&f.since, "since", 0, "judge the migrations above this version")
	flags.BoolVar(&f.all, "all", false, "judge the whole folder")
	flags.BoolVar(&f.opts.Down, "down", false, "judge down sections too")
	flags.IntVar(&f.opts.Target, "target", 0,
		"major version of the PostgreSQL in production, if it is not the shadow's: chooses the safe forms")
	flags.StringVar(&f.backfills, "backfills", "",
		"folder of the backfills (default: backfills beside the migrations folder)")
	flags.StringVar(&f.shadow, "shadow-url", os.Getenv("SHADOW_DATABASE_URL"),
		"server for the shadow database (SHADOW_DATABASE_URL); default: a throw-away one")
	flags.Lookup("shadow-url").DefValue = "" // help must not show a password
	flags.BoolVar(&f.rules, "rules", false, "list the rules and exit")
	return cmd
}

func (a *app) runLint(ctx context.Context, f *lintFlags, args []string, since bool) (err error) {
	write, ok := map[string]func(lint.Report, string) error{
		"text":   func(r lint.Report, dir string) error { return r.WriteText(a.stdout, dir) },
		"json":   func(r lint.Report, dir string) error { return r.WriteJSON(a.stdout, dir) },
		"github": func(r lint.Report, dir string) error { return r.WriteGitHub(a.stdout, dir) },
	}[f.format]
	if !ok {
		return usageError{fmt.Errorf("format %q: text, json or github", f.format)}
	}
	dir, err := a.folder()
	if err != nil {
		return err
	}
	f.opts.Data = make(map[string]any, len(a.data))
	for name, value := range a.data {
		f.opts.Data[name] = value
	}
	if f.opts.Repeatable, err = a.repeatable(dir); err != nil {
		return err
	}
	if f.opts.Backfills, err = a.backfills(f.backfills, dir); err != nil {
		return err
	}
	fsys := os.DirFS(dir)
	migrations, err := pgmigrate.Check(fsys, pgmigrate.WithData(f.opts.Data))
	if err != nil {
		return fmt.Errorf("folder %s: %w", dir, err)
	}
	live, err := liveDatabase()
	if err != nil {
		return err
	}
	switch {
	case len(args) > 0:
		f.opts.Versions, err = named(migrations, args)
	case f.all:
	case since:
		f.opts.Versions = above(migrations, f.since)
	case live != nil:
		f.opts.Versions, err = a.pending(ctx, live, dir, f.opts.Data, migrations)
	default:
		f.opts.Versions = []int32{int32(len(migrations))}
	}
	if err != nil {
		return err
	}
	if !f.all && len(f.opts.Versions) == 0 {
		return write(lint.Report{}, dir)
	}

	db, err := shadow.Open(ctx,
		shadow.Options{URL: f.shadow, Live: live, Migrate: []pgmigrate.Option{pgmigrate.WithData(f.opts.Data)}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if note := db.Note(); note != "" {
		fmt.Fprintln(a.stderr, note)
	}
	report, err := lint.Run(ctx, db, fsys, f.opts)
	if err != nil {
		return err
	}
	if err := write(report, relative(dir)); err != nil {
		return err
	}
	if report.Count(lint.SeverityError) > 0 {
		return errFound
	}
	return nil
}

// named returns the versions of the files or numbers on the command line. Hooks and editors pass
// paths: only the file's name counts.
func named(migrations []pgmigrate.Migration, args []string) ([]int32, error) {
	var versions []int32
	for _, arg := range args {
		if version, err := strconv.ParseInt(arg, 10, 32); err == nil {
			versions = append(versions, int32(version))
			continue
		}
		version := int32(0)
		if filepath.Base(filepath.Dir(arg)) == "repeatable" {
			version = int32(len(migrations)) // repeatable migrations are judged with the last version
		}
		for _, m := range migrations {
			if m.Name == filepath.Base(arg) {
				version = m.Version
			}
		}
		if version == 0 {
			return nil, usageError{
				fmt.Errorf("%s is not in the migrations folder: name a file or a version of it", arg),
			}
		}
		versions = append(versions, version)
	}
	for _, v := range versions {
		if v < 1 || int(v) > len(migrations) {
			return nil, usageError{fmt.Errorf("version %d: the folder has versions 1 to %d", v, len(migrations))}
		}
	}
	return versions, nil
}

func above(migrations []pgmigrate.Migration, version int32) []int32 {
	var versions []int32
	for _, m := range migrations {
		if m.Version > version {
			versions = append(versions, m.Version)
		}
	}
	return versions
}

// pending asks the database for its pending migrations, in a read-only session.
func (a *app) pending(
	ctx context.Context, live *pgx.ConnConfig, dir string, data map[string]any, migrations []pgmigrate.Migration,
) ([]int32, error) {
	m, err := pgmigrate.New(live, os.DirFS(dir), pgmigrate.WithData(data), pgmigrate.WithLogger(nil))
	if err != nil {
		return nil, err
	}
	status, err := m.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("which migrations are pending: %w; name files, or --since VERSION, to judge without "+
			"the database", err)
	}
	return above(migrations, status.Version), nil
}

// relative returns the folder relative to the working directory, as readers and GitHub expect.
func relative(dir string) string {
	wd, err := os.Getwd()
	if err != nil {
		return dir
	}
	if rel, err := filepath.Rel(wd, dir); err == nil && !strings.HasPrefix(rel, "..") && filepath.IsAbs(dir) {
		return filepath.ToSlash(rel)
	}
	return filepath.ToSlash(dir)
}

func (a *app) printRules() error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, r := range lint.Rules() {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.Name, r.Severity, r.Why)
	}
	return w.Flush()
}
