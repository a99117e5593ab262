package replica

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// WaitLimit limits how long [Cluster.ReaderAfter] waits for a replica to replay what a token stands
// for. A replica that keeps up is there within milliseconds of the commit; a person does not notice
// a tenth of a second, and the primary is always there.
//
// The replica is asked again and again meanwhile. PostgreSQL 19 has WAIT FOR LSN, which would wait
// there; it is not used, because it cannot be tested before its release.
const WaitLimit = 100 * time.Millisecond

// Reader returns a pool to read from. It takes the replica with the fewest connections in use,
// among those that are healthy and not too far behind, and each in turn if they have equally many.
// If there is none, it takes the primary. If ctx has a token ([WithToken]), Reader does the same as
// [Cluster.ReaderAfter], which may wait for at most [WaitLimit]. Otherwise it does not block.
//
// The result is never nil. Call Reader for each request and do not keep its result: nothing moves a
// pool that was handed out to another replica, and what is known of a replica that stopped
// answering without breaking a connection is up to 3.5 s old. Two calls may return different
// replicas, and the second may show an older state; a token prevents that only up to where the
// token is. After Shutdown it is a pool that is closed.
func (c *Cluster) Reader(ctx context.Context) *pgxpool.Pool {
	if token, ok := ctx.Value(tokenKey{}).(Token); ok && !token.IsZero() {
		return c.ReaderAfter(ctx, token)
	}
	return c.after(Token{}, c.next.Add(1))
}

// ReaderAfter returns a pool that shows what token stands for: the one of a replica that is known
// to have replayed it, which costs nothing; or of the first that has within [WaitLimit]; else of
// the primary. It returns the primary at once when no replica is healthy, when none is on the
// token's timeline, and when ctx ends.
//
// Positions are compared only on the same timeline of the same cluster. After a promotion a token
// from before it, and one from after it where the replica has not followed yet, mean the primary. A
// replica's timeline is known at once to a role that has the privileges of pg_read_all_stats. For
// others it is what the replica wrote into its control file, up to checkpoint_timeout (5 minutes)
// later, during which tokens mean the primary.
//
// A token that stands for nothing in this cluster does not count: one of another cluster, and one
// beyond the end of the primary's log, because it was made up or because a failover lost the
// commit. ReaderAfter asks the primary where its log ends before it waits, for at most 250 ms.
func (c *Cluster) ReaderAfter(ctx context.Context, token Token) *pgxpool.Pool {
	turn := c.next.Add(1)
	if pool := c.after(token, turn); pool != nil {
		return pool
	}
	if len(*c.ready.Load()) == 0 {
		return c.primary
	}
	if c.isVoid(ctx, token) {
		if pool := c.after(Token{}, turn); pool != nil {
			return pool
		}
	}
	first := c.waiting.Add(1) == 1 // the other callers find the replicas awake
	defer c.waiting.Add(-1)
	limit := time.NewTimer(WaitLimit)
	defer limit.Stop()
	for {
		news := c.news() // before looking, so that nothing is missed
		if pool := c.after(token, turn); pool != nil {
			return pool
		}
		hope := c.sameHistory(token)
		if len(hope) == 0 {
			return c.primary
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

// after returns the pool of a replica that has replayed token. For the zero Token that is any, or
// the primary if there is none.
func (c *Cluster) after(token Token, turn uint64) *pgxpool.Pool {
	ready := *c.ready.Load()
	var best *standby
	var least int64
	for i := range ready {
		s := ready[(turn+uint64(i))%uint64(len(ready))]
		if !token.IsZero() {
			if known := s.state.Load().replayed; !known.sameHistory(token) || known.lsn < token.lsn {
				continue
			}
		}
		if load := s.load.Load(); best == nil || load < least {
			best, least = s, load
		}
	}
	switch {
	case best != nil:
		return best.pool.Load()
	case token.IsZero():
		return c.primary
	}
	return nil
}

// sameHistory returns the replicas that are worth waiting for.
func (c *Cluster) sameHistory(token Token) (hope []*standby) {
	for _, s := range *c.ready.Load() {
		if s.state.Load().replayed.sameHistory(token) {
			hope = append(hope, s)
		}
	}
	return hope
}

// isVoid reports whether token stands for nothing in this cluster. A client that makes tokens up
// costs the primary a position each, which callers that come at the same time share.
func (c *Cluster) isVoid(ctx context.Context, token Token) bool {
	if c.system != 0 && token.system != c.system {
		return true
	}
	end, known := c.position.fresh(ctx)
	return known && token.timeline == end.timeline && token.lsn > end.inserted
}
