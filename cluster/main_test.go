package cluster_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/page-builder/persistence/cluster"
)

func TestX(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Second)
	defer cancel()
	c, err := cluster.Start(ctx, cluster.Options{Log: os.Stdout})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	for _, f := range []struct{ do, undo func(*cluster.Node) error }{
		{(*cluster.Node).Partition, (*cluster.Node).Heal},
		{(*cluster.Node).Freeze, (*cluster.Node).Thaw},
		{(*cluster.Node).Kill, func(n *cluster.Node) error { return n.Restart(ctx) }},
		{(*cluster.Node).KillPostgres, func(*cluster.Node) error { return nil }},
		{func(*cluster.Node) error { return c.StopEtcd() }, func(*cluster.Node) error { return c.StartEtcd(ctx) }},
	} {
		p, err := c.Primary(ctx)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := f.do(p); err != nil {
			t.Error(err)
		}
		for time.Since(began) < 15*time.Second {
			time.Sleep(200 * time.Millisecond)
			if q, err := c.Primary(ctx); err == nil && q != p {
				t.Log(q, "is primary after", time.Since(began))
				break
			}
		}
		if err := f.undo(p); err != nil {
			t.Error(err)
		}
		began = time.Now()
		if err := c.Ready(ctx); err != nil {
			t.Error(err)
		}
		t.Log("ready", time.Since(began))
	}
}
