package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Reinit repairs standbys that do not come back on their own, such as one whose log is ahead of the
// new primary's. Patroni copies the primary to each standby that does not stream from it. Reinit
// returns when Patroni has started; [Cluster.Ready] waits for the end. It returns nil if all
// standbys stream.
func (c *Cluster) Reinit(ctx context.Context) error {
	primary, err := c.Primary(ctx)
	if err != nil {
		return fmt.Errorf("reinitialize: %w", err)
	}
	conn, err := pgx.Connect(ctx, primary.URL)
	if err != nil {
		return fmt.Errorf("reinitialize: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, "select application_name::text from pg_stat_replication where state = 'streaming'")
	if err != nil {
		return fmt.Errorf("reinitialize: %w", err)
	}
	streaming, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("reinitialize: %w", err)
	}
	for _, n := range c.nodes {
		if n == primary || slices.Contains(streaming, n.Name) {
			continue
		}
		c.say("copy %s to %s", primary, n)
		status, answer, failed := n.request(ctx, http.MethodPost, "/reinitialize", settings{"force": true})
		if failed == nil && status != http.StatusOK {
			failed = fmt.Errorf("patroni answers %d: %s", status, answer)
		}
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("reinitialize %s: %w", n, failed))
		}
	}
	return err
}
