package dial

import (
	"crypto/tls"
	"net"
)

// Socket returns the connection beneath TLS, or conn itself.
func Socket(conn net.Conn) net.Conn {
	if secured, ok := conn.(*tls.Conn); ok {
		return secured.NetConn()
	}
	return conn
}
