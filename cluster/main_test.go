package cluster_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/page-builder/persistence/cluster"
)

func TestX(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	c, err := cluster.Start(ctx, cluster.Options{Log: os.Stdout})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := c.Switchover(ctx, nil); err != nil {
		t.Error(err)
	}
	t.Log("switchover", time.Since(began))
	if err := c.Ready(ctx); err != nil {
		t.Error(err)
	}
	t.Log("ready", time.Since(began))
	began = time.Now()
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	t.Log("stop", time.Since(began))
}
