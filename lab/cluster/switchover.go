package cluster

import (
	"context"
	"fmt"
	"net/http"
)

// Switchover makes another node the primary. The old primary stops writing first, so nothing is
// lost. The node must be the [Cluster.SyncStandby] unless replication is asynchronous; nil stands
// for that standby. Switchover returns when the node is the primary.
func (c *Cluster) Switchover(ctx context.Context, to *Node) error {
	primary, err := c.Primary(ctx)
	if err == nil && to == nil {
		to, err = c.SyncStandby(ctx)
	}
	if err != nil {
		return fmt.Errorf("switch over: %w", err)
	}
	c.say("switch over from %s to %s", primary, to)
	status, answer, err := primary.request(ctx, http.MethodPost, "/switchover",
		settings{"leader": primary.Name, "candidate": to.Name})
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("patroni answers %d: %s", status, answer)
	}
	if err == nil {
		err = poll(ctx, func() error {
			if now, err := c.Primary(ctx); err != nil {
				return err
			} else if now != to {
				return fmt.Errorf("%s is the primary", now)
			}
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("switch over to %s: %w", to, err)
	}
	return nil
}
