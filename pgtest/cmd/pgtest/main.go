// Command pgtest lists and drops what tests left on the server that tests use: PGTEST_URL, or the
// throw-away one.
//
//	pgtest list            # databases that failed tests kept, and the command that opens each
//	pgtest clean           # drops what the tests of this project left: those, what killed
//	                       # processes left, unused templates and their roles
//	pgtest clean --all     # the same for all projects and users of the server
//	pgtest clean --dry-run # says what clean would drop
//
// It never touches a database that pgtest did not make, that a running test process owns, or that
// has a session. The exit status is 0, 1 if something could not be dropped, and 2 for a wrong call.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/page-builder/persistence/pgtest"
)

const usage = `usage: pgtest list | clean [--all] [--dry-run]

  list         list the databases that failed tests kept, with the command that opens each
  clean        drop what the tests of this project left

  --all        of clean: drop what the tests of all projects and users left
  --dry-run    of clean: say what would be dropped
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("pgtest", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	all := flags.Bool("all", false, "")
	dry := flags.Bool("dry-run", false, "")
	wrong := func(format string, values ...any) int {
		fmt.Fprintf(stderr, "pgtest: "+format+"; see pgtest --help\n", values...)
		return 2
	}
	if len(args) == 0 {
		return wrong("no command")
	}
	command := args[0]
	if err := flags.Parse(args[1:]); errors.Is(err, flag.ErrHelp) {
		command = "help"
	} else if err != nil {
		return wrong("%s: %v", command, err)
	}
	if flags.NArg() > 0 {
		return wrong("%s: unexpected argument %q", command, flags.Arg(0))
	}
	if command == "list" && flags.NFlag() > 0 {
		return wrong("list takes no flags")
	}
	var err error
	switch command {
	case "-h", "-help", "--help", "help":
		fmt.Fprint(stdout, usage)
		return 0
	case "list":
		var kept []pgtest.KeptDatabase
		kept, err = pgtest.Kept(ctx)
		for _, k := range kept {
			fmt.Fprintf(stdout, "%s  %s\n  %s\n", k.Since.Format(time.DateTime), k.Test, k.Psql)
		}
	case "clean":
		err = clean(ctx, pgtest.CleanOptions{AllProjects: *all, DryRun: *dry}, stdout)
	default:
		return wrong("unknown command %q", command)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

func clean(ctx context.Context, opts pgtest.CleanOptions, stdout io.Writer) error {
	verb := "dropped"
	if opts.DryRun {
		verb = "would drop"
	}
	names, err := pgtest.Clean(ctx, opts)
	for _, name := range names {
		fmt.Fprintln(stdout, verb, name)
	}
	if opts.AllProjects || err != nil {
		return err
	}
	others, err := pgtest.Clean(ctx, pgtest.CleanOptions{AllProjects: true, DryRun: true})
	if n := len(others); n > 0 && !opts.DryRun {
		fmt.Fprintf(stdout, "%d databases and roles of other projects stay: clean --all drops them, and "+
			"clean --all --dry-run lists them\n", n)
	}
	return err
}
