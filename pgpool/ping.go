package pgpool

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// minIdleForPeek is the idle time from which a connection is peeked at. Hardly anything happens to
// a connection in less time, and a pool under load saves the system call.
const minIdleForPeek = 100 * time.Microsecond

// hookPing lets idle connections be checked before they are handed out: after a second, as pgxpool
// does, and at once if any connection was lost since they were last used, or if something has
// arrived on them, such as the server's goodbye. So only callers whose query was under way notice a
// restart of the server.
func (o *observer) hookPing(cfg *pgxpool.Config) {
	next := cfg.ShouldPing
	cfg.ShouldPing = func(ctx context.Context, params pgxpool.ShouldPingParams) bool {
		c := o.acquireOf(ctx)
		ping := c != nil && o.isSuspect(params)
		switch {
		case ping:
		case next != nil:
			ping = next(ctx, params)
		default:
			ping = params.IdleDuration > time.Second
		}
		if ping && c != nil {
			c.enter(checking)
		}
		return ping
	}
}

func (o *observer) isSuspect(params pgxpool.ShouldPingParams) bool {
	if params.IdleDuration >= minIdleForPeek {
		if s := sessionOf(params.Conn); s != nil && s.heard() {
			return true
		}
	}
	lost := time.Duration(o.lost.Load())
	return lost != 0 && o.clock()-params.IdleDuration <= lost
}

// connectionLost records that a connection broke, so that the others are checked before they are
// handed out.
func (o *observer) connectionLost(ctx context.Context, err error) {
	o.lost.Store(int64(o.clock()))
	o.types.forget()
	if o.settings.OnLost != nil {
		o.settings.OnLost(ctx, err)
	}
}
