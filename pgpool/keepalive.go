package pgpool

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// KeepAlive says when TCP gives up on a peer that vanished. The zero value leaves sockets as they
// were dialled.
type KeepAlive struct {
	Idle     time.Duration // silence before the first probe
	Interval time.Duration // between two probes that are not answered
	Count    int           // unanswered probes that end the connection
	// UserTimeout is how long sent data may stay unacknowledged: TCP_USER_TIMEOUT, Linux only.
	// Keepalive probes only while nothing is under way; without this a query to a peer that
	// vanished waits about 15 minutes.
	UserTimeout time.Duration
}

// DefaultKeepAlive is that of [ConnectConfig] and [Listener], and pgconfig's: a peer that vanished
// is found within a minute.
var DefaultKeepAlive = KeepAlive{Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3, UserTimeout: time.Minute}

// apply sets the options of each new connection's socket. It does so after dialling, and so for any
// DialFunc. A connection that is no TCP socket, or a system that does not have an option, is left
// as it is.
func (k KeepAlive) apply(cfg *pgx.ConnConfig) {
	if k == (KeepAlive{}) {
		return
	}
	after := cfg.AfterNetConnect
	cfg.AfterNetConnect = func(ctx context.Context, config *pgconn.Config, conn net.Conn) (net.Conn, error) {
		socket := conn
		if t, ok := socket.(*tls.Conn); ok {
			socket = t.NetConn()
		}
		if tcp, ok := socket.(*net.TCPConn); ok {
			k.set(tcp)
		}
		if after != nil {
			return after(ctx, config, conn)
		}
		return conn, nil
	}
}

func (k KeepAlive) set(socket *net.TCPConn) {
	if k.Idle > 0 {
		_ = socket.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: k.Idle, Interval: k.Interval, Count: k.Count})
	}
	if k.UserTimeout <= 0 {
		return
	}
	if raw, err := socket.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { setUserTimeout(fd, k.UserTimeout) })
	}
}
