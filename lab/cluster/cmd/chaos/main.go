// Command chaos starts a cluster on this machine, loads it, breaks it, and reports whether an
// acknowledged commit was lost.
//
// Its exit status is 1 if an invariant was broken or a round could not be made, 2 if the arguments
// are wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/page-builder/persistence/lab/cluster"
	"github.com/page-builder/persistence/lab/cluster/chaos"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(errs)
	var (
		faults = flags.String("fault", "all", "the `faults`, separated by commas: "+strings.Join(names(), ", "))
		rounds = flags.Int("rounds", 0, "how many rounds of each; 0: 20 of the first four, 5 of the others")
		via    = flags.String("via", "",
			"the `way` of the services: writer, multihost or pooled; default: all in turns")
		async = flags.Bool("async", false,
			"replicate asynchronously, a control: whoever waits for a frozen primary loses what it acknowledges "+
				"when it goes on")
		verbose = flags.Bool("v", false, "tell each step")
	)
	if err := flags.Parse(args); err != nil {
		return 2
	}
	kinds, err := chosen(*faults)
	ways := []chaos.Via{chaos.MultiHost, chaos.Writer, chaos.Pooled}
	if *via != "" && err == nil {
		if !slices.Contains(ways, chaos.Via(*via)) {
			err = fmt.Errorf("unknown way %q: take writer, multihost or pooled", *via)
		}
		ways = []chaos.Via{chaos.Via(*via)}
	}
	if err != nil {
		fmt.Fprintln(errs, "chaos:", err)
		return 2
	}
	if kinds = possible(kinds, out); len(kinds) == 0 {
		fmt.Fprintln(errs, "chaos: none of these faults is possible here")
		return 1
	}
	if err := cluster.Check(); err != nil {
		fmt.Fprintln(errs, "chaos:", err)
		return 1
	}
	steps := io.Discard
	if *verbose {
		steps = errs
	}
	c, err := cluster.Start(ctx, cluster.Options{Async: *async, Log: steps})
	if err != nil {
		fmt.Fprintln(errs, "chaos:", err)
		return 1
	}
	all, err := play(ctx, c, kinds, *rounds, ways, out, steps)
	if stopped := c.Stop(); err == nil {
		err = stopped
	}
	if len(all) > 0 {
		fmt.Fprintf(out, "\n%s", chaos.Table(all))
	}
	if err != nil {
		fmt.Fprintln(errs, "chaos:", err)
		return 1
	}
	for _, round := range all {
		if len(round.Broken) > 0 {
			return 1
		}
	}
	return 0
}

// possible returns the kinds that work on this machine, and prints why the others do not.
func possible(kinds []chaos.Kind, out io.Writer) (left []chaos.Kind) {
	for _, kind := range kinds {
		if err := kind.Check(); err != nil {
			fmt.Fprintf(out, "SKIPPED %s: %v\n", kind.Name, err)
		} else {
			left = append(left, kind)
		}
	}
	return left
}

// play runs the rounds of all kinds in turn, so that an interrupted run has some of each.
func play(
	ctx context.Context, c *cluster.Cluster, kinds []chaos.Kind, rounds int, ways []chaos.Via, out, steps io.Writer,
) ([]*chaos.Round, error) {
	var all []*chaos.Round
	var failed error
	for n := 1; ; n++ {
		more := false
		for _, kind := range kinds {
			if n > rounds && (rounds > 0 || n > kind.Goal) {
				continue
			}
			more = true
			way := ways[(n-1)%len(ways)]
			system, err := chaos.SystemOf(c, way)
			if err != nil {
				return all, err
			}
			round, err := chaos.Run(ctx, system, kind.On(c), chaos.Options{Log: steps})
			switch {
			case ctx.Err() != nil:
				return all, errors.Join(failed, ctx.Err())
			case err != nil:
				err = fmt.Errorf("round %d by %s: %w", n, way, err)
				failed = errors.Join(failed, err)
				fmt.Fprintf(out, "%s  FAILED %v\n", time.Now().Format(time.TimeOnly), err)
				if err := whole(ctx, c); err != nil {
					return all, errors.Join(failed, err)
				}
				continue
			}
			all = append(all, round)
			fmt.Fprintf(out, "%s  %d %s  %s\n", time.Now().Format(time.TimeOnly), n, way, round)
		}
		if !more {
			return all, failed
		}
	}
}

// whole waits for a cluster that a failed round may have left broken.
func whole(ctx context.Context, c *cluster.Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	return c.Ready(ctx)
}

func names() (all []string) {
	for _, kind := range chaos.Kinds() {
		all = append(all, kind.Name)
	}
	return all
}

func chosen(list string) ([]chaos.Kind, error) {
	if list == "all" {
		return chaos.Kinds(), nil
	}
	var all []chaos.Kind
	for _, name := range strings.Split(list, ",") {
		i := slices.Index(names(), strings.TrimSpace(name))
		if i < 0 {
			return nil, fmt.Errorf("unknown fault %q: take all, or some of %s", name, strings.Join(names(), ", "))
		}
		all = append(all, chaos.Kinds()[i])
	}
	return all, nil
}
