// Command pgserver runs a durable PostgreSQL for development on this machine; see [pgserver.Dev].
//
//	pgserver start [--port N]    start it, make its database, print the connection string
//	pgserver stop                stop it; its data stays
//	pgserver url                 print the connection string; fails if the server is not running
//	pgserver remove              stop it and delete its data
//	pgserver branch [BRANCH]     copy the database to a branch; --drop removes one
//	pgserver switch [BRANCH]     exchange the database for a branch; its URL stays
//	pgserver branches            list them, the current one with a *
//	pgserver fetch VERSION       print where a version's programs are; download them if they are
//	                             missing
//
// The server is the one of the project, named after its module path, or of --name.
//
// BRANCH is by default the git branch that is checked out. The exit status is 0, 1 for a failure, 2
// for a wrong call, and 3 for a server that is not running.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

const usage = `usage: pgserver COMMAND [flags] [ARGUMENT]

  start              start the development server, make its database, print the connection string
  stop               stop it; its data stays
  url                print the connection string; status 3 if the server is not running
  remove             stop it and delete its data
  branch [BRANCH]    copy the database to a branch; default: the git branch's name
  switch [BRANCH]    exchange the database for a branch; its connection string stays, its sessions end
  branches           list the branches, the current one with a *
  fetch VERSION      print the directory of a major version's programs; download them if they are missing

  --database NAME    the database that start makes and the connection string names (default: named after
                     the module)
  --drop             of branch: drop the branch
  --name NAME        which server, if there are several (default: the project's)
  --port N           of start: also listen on 127.0.0.1 at this port, with a random password
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var dev pgserver.Dev
	flags := flag.NewFlagSet("pgserver", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&dev.Name, "name", "", "")
	flags.StringVar(&dev.Database, "database", "", "")
	flags.IntVar(&dev.Port, "port", 0, "")
	drop := flags.Bool("drop", false, "")
	command := ""
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	wrong := func(format string, values ...any) int {
		fmt.Fprintf(stderr, "pgserver: "+format+"; see pgserver --help\n", values...)
		return 2
	}
	switch command {
	case "-h", "-help", "--help", "help":
		fmt.Fprint(stdout, usage)
		return 0
	case "":
		return wrong("no command")
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage)
		return 0
	} else if err != nil {
		return wrong("%s: %v", command, err)
	}
	argument := flags.Arg(0)
	version, _ := strconv.Atoi(argument)
	var arguments int
	switch command {
	case "fetch":
		if arguments = 1; version <= 0 {
			return wrong("fetch takes a major version, for example 16")
		}
	case "branch", "switch":
		arguments = 1
	}
	if flags.NArg() > arguments {
		return wrong("%s: unexpected argument %q", command, flags.Arg(arguments))
	}
	var (
		out string
		err error
	)
	switch command {
	case "start":
		out, err = dev.Start(ctx)
		if older := dev.OlderServer(); older != "" && dev.Name == "" {
			fmt.Fprintf(stderr, "pgserver: the server that all projects used to share is still in %s; --name default "+
				"--database app selects it\n", older)
		}
	case "stop":
		err = dev.Stop(ctx)
	case "url":
		out, err = dev.URL()
	case "remove":
		err = dev.Remove(ctx)
	case "branch":
		if *drop {
			err = dev.RemoveBranch(ctx, argument)
		} else if out, err = dev.Branch(ctx, argument); err == nil {
			out = "made the branch " + out
		}
	case "switch":
		if out, err = dev.Switch(ctx, argument); err == nil {
			out = "switched to the branch " + out
		}
	case "branches":
		out, err = list(ctx, dev)
	case "fetch":
		out, err = pgserver.Binaries(ctx, pgserver.Options{Version: version})
	default:
		return wrong("unknown command %q", command)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		if errors.Is(err, pgserver.ErrNotRunning) {
			return 3
		}
		return 1
	}
	if out != "" {
		fmt.Fprintln(stdout, out)
	}
	return 0
}

func list(ctx context.Context, dev pgserver.Dev) (string, error) {
	branches, err := dev.Branches(ctx)
	var lines []string
	for _, b := range branches {
		if b.Current {
			b.Name = "* " + b.Name
		} else {
			b.Name = "  " + b.Name
		}
		lines = append(lines, b.Name)
	}
	return strings.Join(lines, "\n"), err
}
