package pgpool

import (
	"context"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// closeLimit is how long the pool waits for the server to take leave of a connection that is
	// closed. Until then the connection counts, and pgx waits 15 s.
	closeLimit = 2 * time.Second
	// cancelPause is how long a cancelled statement may take to end before it is cancelled again.
	cancelPause = 100 * time.Millisecond
)

// closing hurries a connection that the pool is about to close. It runs in a goroutine of the
// pool's.
//
// A statement whose context ends soon after it was sent goes on: pgx's request to cancel it, which
// travels on a connection of its own, overtakes it and finds nothing to cancel. The connection is
// closed and its place in the pool taken for as long as pgx waits for the server: a few impatient
// callers would block a pool for 15 s. So it is cancelled once more.
func (s *session) closing(conn *pgx.Conn) {
	time.AfterFunc(closeLimit, func() {
		select {
		case <-s.closed:
		default:
			s.cut()
		}
	})
	if !conn.IsClosed() {
		return // idle: it is told to end, and does
	}
	timer := time.NewTimer(cancelPause)
	defer timer.Stop()
	select {
	case <-s.closed:
		return
	case <-timer.C:
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit-cancelPause)
	defer cancel()
	_ = conn.PgConn().CancelRequest(ctx)
}

// limitCancel gives requests to cancel the same limit: pgx waits 15 s for each, and closes the
// connection after it. They are the connections that are dialled without TraceConnectStart.
func limitCancel(cfg *pgx.ConnConfig) {
	dial := cfg.DialFunc
	cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if ctx.Value(connectKey{}) != nil {
			return dial(ctx, network, address)
		}
		ctx, cancel := context.WithTimeout(ctx, closeLimit)
		defer cancel()
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return conn, conn.SetDeadline(time.Now().Add(closeLimit))
	}
}
