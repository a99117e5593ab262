// Command pgmigrate applies a folder of tern migrations to the PostgreSQL database that the
// environment names.
//
//	go get -tool github.com/page-builder/persistence/pgmigrate/cmd/pgmigrate
//	DATABASE_URL=postgres://app@localhost/app go tool pgmigrate up
//
// DATABASE_URL or libpq's PG* variables name the database. If they name PgBouncer, set
// DIRECT_DATABASE_URL as well, with the address of the server itself. See pgconfig for the rest.
//
// Exit codes: 0 success; 1 the database or a migration failed, or the time limit was reached; 2 the
// command line, the configuration or the folder is wrong; 3 a person must decide: a section without
// a transaction was interrupted, an applied file was edited, or a backfill must run first.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/backfill"
)

const (
	exitFailed = 1
	exitUsage  = 2
	exitPerson = 3
)

func main() {
	// Ctrl-C closes the connection, the server rolls back, and the message says what state that
	// leaves.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	a := &app{stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	// cobra stops at the first wrong argument, perhaps before it has seen --json.
	if (a.json || !a.started && slices.Contains(args, "--json")) && !a.printed {
		// stderr says the same if stdout is closed.
		_ = a.printJSON(map[string]string{"error": err.Error()}, nil)
	}
	fmt.Fprintf(stderr, "pgmigrate: %v\n", err)
	if hint := hint(err); hint != "" {
		fmt.Fprintf(stderr, "%s\n", variable.ReplaceAllString(hint, a.variablePrefix()+"$0"))
	}
	if !a.started || isConfiguration(err) {
		return exitUsage
	}
	if needsPerson(err) {
		return exitPerson
	}
	return exitFailed
}

var variable = regexp.MustCompile(`(?:DIRECT_)?DATABASE_URL`)

func (a *app) variablePrefix() string {
	if a.prefix == "" || strings.HasSuffix(a.prefix, "_") {
		return a.prefix
	}
	return a.prefix + "_"
}

// usageError is a mistake on the command line that cobra cannot know.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func isConfiguration(err error) bool {
	var (
		usage   usageError
		config  *pgconfig.Error
		folder  *pgmigrate.FolderError
		version *pgmigrate.VersionError
	)
	return errors.As(err, &usage) || errors.As(err, &config) || errors.As(err, &folder) ||
		errors.As(err, &version) && !version.Ahead
}

// needsPerson reports whether another run is useless until a person has looked at the database.
func needsPerson(err error) bool {
	var (
		dirty  *pgmigrate.DirtyError
		edited *pgmigrate.EditedError
		failed *pgmigrate.MigrationError
		gate   *pgmigrate.BackfillError
		state  *backfill.StateError
	)
	return errors.As(err, &dirty) || errors.As(err, &gate) || errors.As(err, &state) || errors.As(err, &edited) ||
		errors.As(err, &failed) && failed.State == pgmigrate.StatePartlyApplied && !failed.Repeatable &&
			!failed.ConnectionLost
}
