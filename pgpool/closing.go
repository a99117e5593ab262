package pgpool

import (
	"context"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// closeLimit is how long the pool waits for the server to close a connection. Until then the
	// connection counts in the pool. pgx waits 15 s.
	closeLimit = 2 * time.Second
	// cancelPause is how long a canceled statement may take to end before it is canceled again.
	cancelPause = 100 * time.Millisecond
)

// closing hurries a connection that the pool is about to close. It runs in a goroutine of the
// pool's.
//
// A statement whose context ends soon after it was sent goes on: pgx's request to cancel it travels
// on a connection of its own, overtakes it and finds nothing to cancel. The connection keeps its
// place in the pool for as long as pgx waits for the server. A few impatient callers would block a
// pool for 15 s, so closing cancels the statement once more.
func (s *session) closing(conn *pgx.Conn) {
	time.AfterFunc(closeLimit, func() { s.socket.Close() })
	if !conn.IsClosed() {
		return // idle: the server closes it when it gets the Terminate
	}
	select {
	case <-s.closed:
		return
	case <-time.After(cancelPause):
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit-cancelPause)
	defer cancel()
	_ = conn.PgConn().CancelRequest(ctx)
}

// limitDial gives each dial of cfg as long as the ConnectTimeout, and what follows it up to the end
// of the TLS handshake. pgx limits a connect in the same way. A request to cancel, which pgx dials
// with the same function and gives 15 s, is limited too: a connection is closed only after it.
//
// AfterNetConnect runs for connects only, after the handshake. It takes the limit off.
func limitDial(cfg *pgx.ConnConfig) {
	dial, next, limit := cfg.DialFunc, cfg.AfterNetConnect, cfg.ConnectTimeout
	if limit <= 0 {
		return
	}
	cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		deadline, _ := ctx.Deadline()
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		_ = conn.SetDeadline(deadline) // a connection without deadlines has no limit
		return conn, nil
	}
	cfg.AfterNetConnect = func(ctx context.Context, config *pgconn.Config, conn net.Conn) (net.Conn, error) {
		_ = conn.SetDeadline(time.Time{})
		if next != nil {
			return next(ctx, config, conn)
		}
		return conn, nil
	}
}
