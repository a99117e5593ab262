package replica

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// WaitLimit is how long [Cluster.ReaderAfter] waits for a replica to replay what a token stands
// for. A replica that keeps up is there within milliseconds of the commit; a person does not notice
// a tenth of a second, and the primary is always there.
const WaitLimit = 100 * time.Millisecond

// Reader returns a pool to read from: of the next replica, of those that are healthy and not too
// far behind, or of the primary if there is none. If ctx has a token ([WithToken]) it is
// [Cluster.ReaderAfter] with that, which may wait for at most [WaitLimit]; otherwise it does not
// block.
//
// It is never nil. Call it for each request rather than keeping its result: nothing moves a pool
// that was handed out to another replica, and what is known of a replica is up to 3.5 s old, if it
// stopped answering without breaking a connection. Two calls may return different replicas, of
// which the second shows an older state; a token prevents that only up to where the token is. After
// Shutdown it is a pool that is closed.
func (c *Cluster) Reader(ctx context.Context) *pgxpool.Pool {
	if token, ok := ctx.Value(tokenKey{}).(Token); ok && !token.IsZero() {
		return c.ReaderAfter(ctx, token)
	}
	ready := *c.ready.Load()
	if len(ready) == 0 {
		return c.primary
	}
	return ready[c.next.Add(1)%uint64(len(ready))].pool.Load()
}

// ReaderAfter returns a pool that shows what token stands for: of the next replica that is known to
// have replayed it, which costs nothing; or of the first that has within [WaitLimit]; else of the
// primary. It returns the primary at once when no replica is healthy, when none is on the token's
// timeline, and when ctx ends.
//
// Positions are compared only on the same timeline of the same cluster. After a promotion a token
// from before it, and one from after it where the replica has not followed yet, mean the primary. A
// replica's timeline is known at once to a role that has the privileges of pg_read_all_stats; for
// others it is what the replica wrote into its control file, up to checkpoint_timeout (5 minutes)
// later, during which tokens mean the primary.
//
// A token from the future (made up, or from a primary that lost a commit in a failover) costs the
// wait and means the primary.
func (c *Cluster) ReaderAfter(ctx context.Context, token Token) *pgxpool.Pool {
	turn := c.next.Add(1)
	if pool, _ := c.after(token, turn); pool != nil {
		return pool
	}
	first := c.waiting.Add(1) == 1 // the others find everybody awake
	defer c.waiting.Add(-1)
	limit := time.NewTimer(WaitLimit)
	defer limit.Stop()
	for {
		news := c.news() // before looking, so that nothing is missed
		pool, hope := c.after(token, turn)
		if pool != nil {
			return pool
		}
		if first {
			for _, s := range hope {
				s.wake()
			}
			first = false // from here on they look every pollInterval
		}
		select {
		case <-news:
		case <-limit.C:
			return c.primary
		case <-ctx.Done():
			return c.primary
		}
	}
}

// after returns the pool that needs no waiting, or the replicas that are worth waiting for.
func (c *Cluster) after(token Token, turn uint64) (*pgxpool.Pool, []*standby) {
	ready := *c.ready.Load()
	var hope []*standby
	for i := range ready {
		s := ready[(turn+uint64(i))%uint64(len(ready))]
		state := s.state.Load()
		switch {
		case token.IsZero(), state.replayed.sameHistory(token) && state.replayed.lsn >= token.lsn:
			return s.pool.Load(), nil
		case state.replayed.sameHistory(token):
			hope = append(hope, s)
		}
	}
	if len(hope) == 0 {
		return c.primary, nil
	}
	return nil, hope
}
