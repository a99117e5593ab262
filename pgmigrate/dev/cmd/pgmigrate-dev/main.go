// Command pgmigrate-dev is the part of pgmigrate for developers and CI. It lints migrations and
// compares databases with them.
//
//	go get -tool github.com/page-builder/persistence/pgmigrate/dev/cmd/pgmigrate-dev
//	go tool pgmigrate-dev lint
//
// Exit codes: 0 nothing was found; 1 something was found, or the command failed; 2 the command
// line, the configuration or the folder is wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgmigrate"
)

const (
	exitFound = 1
	exitUsage = 2
)

func main() {
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
	if !errors.Is(err, errFound) {
		fmt.Fprintf(stderr, "pgmigrate-dev: %v\n", err)
	}
	if !a.started || isConfiguration(err) {
		return exitUsage
	}
	return exitFound
}

// errFound ends a command that has printed its findings.
var errFound = errors.New("found")

// usageError is a mistake on the command line that cobra cannot know.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func isConfiguration(err error) bool {
	var (
		usage  usageError
		config *pgconfig.Error
		folder *pgmigrate.FolderError
	)
	return errors.As(err, &usage) || errors.As(err, &config) || errors.As(err, &folder)
}
