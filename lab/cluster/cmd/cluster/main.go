// Command cluster runs a PostgreSQL cluster on this machine; see package [cluster].
//
//	cluster up [-nodes 3] [-async]  start one, print how to connect, keep it until Ctrl-C or down
//	cluster down                    stop the one that up keeps
//	cluster demo                    start one, kill its primary under load, tell what programs see
//	cluster citus [-plain]          a ledger on Citus, with broken COMMITs and a killed worker
//
// The exit status is 0, 1 for a failure, 2 for a wrong call, and 3 if programs or
// the extension are not installed.
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

	"github.com/page-builder/persistence/lab/cluster"
	"github.com/page-builder/persistence/lab/cluster/citus"
)

const usage = `usage: cluster up [-nodes 3] [-async] | down | demo | citus [-plain]

  up     start a cluster, print how to connect, and keep it until Ctrl-C or down
  down   stop the cluster that up keeps
  demo   start a cluster, kill its primary under load, and tell what programs see of it
  citus  run a ledger on a coordinator and two workers of Citus; break COMMITs and kill a worker meanwhile

flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var opts cluster.Options
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&opts.Nodes, "nodes", 3, "how many nodes (up)")
	flags.BoolVar(&opts.Async, "async", false, "replicate asynchronously: a failover may lose commits (up)")
	ledger := citus.Options{Out: stdout}
	flags.BoolVar(&ledger.Plain, "plain", false, "one server without Citus, to compare (citus)")
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	command := ""
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		if flags.NArg() > 0 {
			flags.Usage()
		}
		return 2
	}
	var err error
	switch command {
	case "up":
		opts.Log = stderr
		err = up(ctx, opts, stdout)
	case "down":
		err = down(ctx, stdout)
	case "demo":
		err = demo(ctx, stdout)
	case "citus":
		_, err = citus.Run(ctx, ledger)
	default:
		flags.Usage()
		return 2
	}
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "cluster: %v\n", err)
	if missing := (*cluster.MissingError)(nil); errors.As(err, &missing) || errors.Is(err, citus.ErrMissing) {
		return 3
	}
	return 1
}
