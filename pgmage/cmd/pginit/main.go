// Command pginit makes a service on PostgreSQL, in an empty folder or in a module that exists.
//
//	pginit [--module PATH] [--minimal] [--replace PATH] [--dry-run] [DIR]
//
// It prints what it will do, and does it. It adds what is missing and changes no file but go.mod
// and go.sum: a file that exists stays as it is.
//
//   - go.mod, with the commands that the Mage targets run as tools; heavy ones in tools/go.mod
//   - magefile.go, .env, example.env, .gitignore
//   - migrations/001_notes.sql and a test of it, if there are no migrations
//   - sqlc.yaml, queries/, db/ with the typed queries, and main.go with a test, if the module has
//     none of these
//   - a workflow for CI and a manifest for Kubernetes
//
// With --minimal it leaves out the last two lines and tools/.
//
// The exit status is 0, 1 for a failure, and 2 for a wrong call.
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
)

const usage = `usage: pginit [flags] [DIR]

Makes a service on PostgreSQL in DIR, by default the current folder. A file that exists stays as it is.

`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var opts options
	flags := flag.NewFlagSet("pginit", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.VisitAll(func(f *flag.Flag) {
			name, text := flag.UnquoteUsage(f)
			fmt.Fprintf(stderr, "  --%-16s %s\n", f.Name+" "+name, text)
		})
	}
	flags.StringVar(&opts.module, "module", "", "`PATH` of the new module (default: example.com/ and the folder)")
	flags.BoolVar(&opts.minimal, "minimal", false, "only the Mage targets, a migration and its test")
	flags.StringVar(&opts.replace, "replace", "", "use the modules in the checkout at `PATH`, not published ones")
	flags.BoolVar(&opts.dryRun, "dry-run", false, "only print what would be done")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if flags.NArg() > 1 {
		fmt.Fprintln(stderr, "pginit: more than one folder; flags come before it")
		return 2
	}
	opts.dir = "."
	if flags.NArg() == 1 {
		opts.dir = flags.Arg(0)
	}
	p, err := newPlan(ctx, opts)
	if err == nil {
		p.print(stdout)
		if !opts.dryRun {
			err = p.do(ctx, stdout, stderr)
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "pginit:", err)
		if wrong := (*callError)(nil); errors.As(err, &wrong) {
			return 2
		}
		return 1
	}
	return 0
}

// callError says that the command line does not fit the folder.
type callError struct{ text string }

func (e *callError) Error() string { return e.text }

func wrongCall(format string, args ...any) error { return &callError{fmt.Sprintf(format, args...)} }
