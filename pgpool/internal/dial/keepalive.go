package dial

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// KeepAlive says when TCP gives up on a peer that vanished. The zero value changes no socket.
type KeepAlive struct {
	Idle        time.Duration
	Interval    time.Duration
	Count       int
	UserTimeout time.Duration
}

// Apply sets the options of each new connection's socket after it was dialed, so it works with any
// DialFunc. A connection that is no TCP socket stays as it is, and so does an option that the
// operating system does not have.
func (k KeepAlive) Apply(cfg *pgx.ConnConfig) {
	if k == (KeepAlive{}) {
		return
	}
	next := cfg.AfterNetConnect
	cfg.AfterNetConnect = func(ctx context.Context, config *pgconn.Config, conn net.Conn) (net.Conn, error) {
		if tcp, ok := Socket(conn).(*net.TCPConn); ok {
			k.set(tcp)
		}
		if next != nil {
			return next(ctx, config, conn)
		}
		return conn, nil
	}
}

func (k KeepAlive) set(socket *net.TCPConn) {
	if k.Idle > 0 {
		_ = socket.SetKeepAliveConfig(net.KeepAliveConfig{
			Enable: true, Idle: k.Idle, Interval: k.Interval, Count: k.Count,
		})
	}
	if k.UserTimeout <= 0 {
		return
	}
	if raw, err := socket.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { setUserTimeout(fd, k.UserTimeout) })
	}
}

// Socket returns the connection beneath TLS, or conn itself.
func Socket(conn net.Conn) net.Conn {
	if secured, ok := conn.(*tls.Conn); ok {
		return secured.NetConn()
	}
	return conn
}
