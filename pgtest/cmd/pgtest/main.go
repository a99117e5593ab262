// Command pgtest lists and drops what tests left on the server that tests use: PGTEST_URL, or the
// throw-away one.
//
//	pgtest list    # databases that failed tests kept, and the command that opens each
//	pgtest clean   # drops those, what killed processes left, unused templates and their roles
//
// It never touches a database that pgtest did not make, that a running test process owns, or that
// somebody is connected to.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/page-builder/persistence/pgtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) != 1 {
		args = []string{""}
	}
	var err error
	switch args[0] {
	case "list":
		var kept []pgtest.KeptDatabase
		kept, err = pgtest.Kept(ctx)
		for _, k := range kept {
			fmt.Fprintf(stdout, "%s  %s\n  %s\n", k.Since.Format(time.DateTime), k.Test, k.Psql)
		}
	case "clean":
		var dropped []string
		dropped, err = pgtest.Clean(ctx)
		for _, name := range dropped {
			fmt.Fprintln(stdout, "dropped", name)
		}
	default:
		fmt.Fprintln(stderr, "usage: pgtest list | clean")
		return 2
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}
