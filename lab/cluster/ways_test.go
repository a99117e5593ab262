package cluster_test

import "testing"

// Clients go on after a switchover, for each way to connect, without a restart.
func TestWaysToConnect(t *testing.T) {
	c := start(t)
	works := []func(){services(t, c), readers(t, c), writers(t, c)}
	for _, work := range works {
		work()
	}
	ctx := limited(t)
	before, err := c.Primary(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Switchover(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if after, err := c.Primary(ctx); err != nil || after == before {
		t.Errorf("the primary is %v, %v; it was %v", after, err, before)
	}
	for _, work := range works {
		work()
	}
}
