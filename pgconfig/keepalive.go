package pgconfig

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// KeepAlive says when TCP gives up on a peer that vanished. The zero value leaves sockets as they
// were dialed.
type KeepAlive struct {
	// Idle is the silence before the first probe. Negative: no probes.
	Idle time.Duration
	// Interval is the time between two probes that are not answered. Defaults to 15 s.
	Interval time.Duration
	// Count is how many unanswered probes end the connection. Defaults to 9.
	Count int
	// UserTimeout limits how long sent data may stay unacknowledged: TCP_USER_TIMEOUT, Linux only.
	// Keepalive probes only while nothing is under way. Without this, a query to a peer that
	// vanished waits about 15 minutes.
	UserTimeout time.Duration
}

// Apply sets the options on the socket of each new connection of cfg, whatever dials it. A
// connection that is no TCP socket is left as it is. A hook that cfg already has runs first.
func (k KeepAlive) Apply(cfg *pgx.ConnConfig) {
	if k == (KeepAlive{}) {
		return
	}
	before := cfg.AfterNetConnect
	cfg.AfterNetConnect = func(ctx context.Context, config *pgconn.Config, conn net.Conn) (net.Conn, error) {
		if before != nil {
			var err error
			if conn, err = before(ctx, config, conn); err != nil {
				return conn, err
			}
		}
		socket := conn
		if t, ok := socket.(*tls.Conn); ok {
			socket = t.NetConn()
		}
		if tcp, ok := socket.(*net.TCPConn); ok {
			k.set(tcp)
		}
		return conn, nil
	}
}

// set ignores errors. If the peer has closed the socket already, the login will fail.
func (k KeepAlive) set(socket *net.TCPConn) {
	switch {
	case k.Idle > 0:
		_ = socket.SetKeepAliveConfig(net.KeepAliveConfig{
			Enable: true, Idle: k.Idle, Interval: k.Interval,
			Count: k.Count,
		})
	case k.Idle < 0:
		_ = socket.SetKeepAlive(false)
	}
	if k.UserTimeout <= 0 {
		return
	}
	if raw, err := socket.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { setUserTimeout(fd, k.UserTimeout) })
	}
}

// keepAlive returns the settings of c.
func (c Config) keepAlive() KeepAlive {
	k := KeepAlive{
		Idle: c.KeepAliveIdle, Interval: c.KeepAliveInterval, Count: int(c.KeepAliveCount),
		UserTimeout: c.TCPUserTimeout,
	}
	if k.Idle <= 0 {
		k.Idle = -1
	}
	return k
}
