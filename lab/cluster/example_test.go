package cluster_test

import (
	"context"
	"errors"
	"log"

	"github.com/page-builder/persistence/lab/cluster"
)

func Example() {
	if err := example(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func example(ctx context.Context) error {
	c, err := cluster.Start(ctx, cluster.Options{}) // *MissingError says what to install: t.Skip(err)
	if err != nil {
		return err
	}
	defer c.Stop()
	primary, err := c.Primary(ctx)
	if err != nil {
		return err
	}
	return errors.Join(
		primary.Kill(), // or KillPostgres, Freeze, Partition and their opposites, Switchover, StopEtcd, …
		primary.Restart(ctx),
		c.Ready(ctx), // all nodes stream again, both proxies lead to the primary
	)
}
