package chaos_test

import (
	"context"
	"testing"
	"time"

	"github.com/page-builder/persistence/lab/cluster"
	"github.com/page-builder/persistence/lab/cluster/chaos"
)

// TestShort runs one round of each of the first three faults on a real cluster, each with another
// way to connect. It asserts that writes come back and that nothing is lost, but not how long
// writes fail. The command in cmd/chaos is the long form.
func TestFaultsUnderLoad(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	if err := cluster.Check(); err != nil {
		t.Skip(err)
	}
	// Below go test's own limit, which leaves everything behind.
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Minute)
	defer cancel()
	c, err := cluster.Start(ctx, cluster.Options{Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	ways := []chaos.Via{chaos.MultiHost, chaos.Writer, chaos.Pooled}
	for i, kind := range chaos.Kinds()[:3] {
		system, err := chaos.SystemOf(c, ways[i])
		if err != nil {
			t.Fatal(err)
		}
		round, err := chaos.Run(ctx, system, kind.On(c), chaos.Options{Log: t.Output()})
		if err != nil {
			t.Fatalf("%s by %s: %v", kind.Name, ways[i], err)
		}
		t.Logf("by %s: %s", ways[i], round)
		for _, broken := range round.Broken {
			t.Errorf("%s by %s: %s", kind.Name, ways[i], broken)
		}
		for _, side := range round.Ours {
			if side.Verdict.Acknowledged == 0 {
				t.Errorf("%s by %s: %s made no transfers", kind.Name, ways[i], side.Name)
			}
		}
	}
}
