package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/page-builder/persistence/lab/cluster"
)

// up runs a cluster until ctx ends. It stays in the foreground, because a cluster ends with its
// owner.
func up(ctx context.Context, opts cluster.Options, out io.Writer) (err error) {
	if err := cluster.Check(); err != nil {
		return err
	}
	claim, err := claimUp()
	if err != nil {
		return err
	}
	defer claim.Close()
	c, err := cluster.Start(ctx, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	printWays(out, c)
	<-ctx.Done()
	return nil
}

func printWays(out io.Writer, c *cluster.Cluster) {
	fmt.Fprintf(out, "\nReady. In another terminal, one of these ways to connect:\n")
	env := c.Env()
	for _, w := range env.Ways() {
		fmt.Fprintf(out, "\n# %s\nexport", w.Name)
		for _, name := range slices.Sorted(maps.Keys(w.Environ)) {
			fmt.Fprintf(out, " %s='%s'", name, w.Environ[name])
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "\n# with any of them, for reads from standbys\nexport DATABASE_REPLICA_URLS='%s'\n",
		strings.Join(env.Nodes, ","))
	fmt.Fprintf(out, "\nThe logs are below %s. To stop: Ctrl-C, or go tool mage cluster:down\n", c.Dir())
}
