// Command pgserver runs a durable PostgreSQL for development on this machine; see [pgserver.Dev].
//
//	pgserver start  [-name NAME] [-port N]   start it, make its database, print the connection string
//	pgserver stop   [-name NAME]             stop it; its data stays
//	pgserver url    [-name NAME]             print the connection string; fails if it is not running
//	pgserver remove [-name NAME]             stop it and delete its data
//
// The exit status is 0, 1 for a failure, 2 for a wrong call, and 3 when url finds no running server.
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

	"github.com/page-builder/persistence/pgtest/pgserver"
)

const usage = `usage: pgserver start|stop|url|remove [flags]

  start   start the development server, make its database, print the connection string
  stop    stop it; its data stays
  url     print the connection string; fails with status 3 if it is not running
  remove  stop it and delete its data

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
	flags.StringVar(&dev.Name, "name", "default", "which server, if there are several")
	flags.StringVar(&dev.Database, "database", "app", "the database that start makes and the connection string names")
	flags.IntVar(&dev.Port, "port", 0, "also listen on 127.0.0.1 at this port, with a random password (start)")
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	command := ""
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		if err == nil {
			flags.Usage()
		}
		return 2
	}
	var (
		url string
		err error
	)
	switch command {
	case "start":
		url, err = dev.Start(ctx)
	case "stop":
		err = dev.Stop(ctx)
	case "url":
		url, err = dev.URL()
	case "remove":
		err = dev.Remove(ctx)
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
	if url != "" {
		fmt.Fprintln(stdout, url)
	}
	return 0
}
