package pgtx

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// patience ends a statement cleanupLimit after the end of ctx. What outlast does with a context
// costs several per cent of a short transaction; this costs next to nothing unless ctx ends. It
// takes the socket away, so it must be stopped before the connection is handed on, which nobody can
// do within the Commit of a pgx.Tx.
type patience struct {
	mu    sync.Mutex
	timer *time.Timer
	over  bool // stopped
	cut   bool
}

// start begins to watch ctx. The function it returns stops that, and reports whether the socket was
// closed.
func (p *patience) start(ctx context.Context, conn *pgx.Conn) (stop func() bool) {
	if ctx.Done() == nil {
		return func() bool { return false }
	}
	unwatch := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.over {
			p.timer = time.AfterFunc(cleanupLimit, func() { p.end(conn) })
		}
	})
	return func() bool {
		if unwatch() {
			return false // ctx has not ended
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.over = true
		if p.timer != nil {
			p.timer.Stop()
		}
		return p.cut
	}
}

func (p *patience) end(conn *pgx.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.cut = true
		_ = conn.PgConn().Conn().Close()
	}
}
