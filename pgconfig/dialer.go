package pgconfig

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"time"
)

// dialer returns a dialer with the keepalive settings. The limit on connecting is pgx's, and covers
// TLS and login too.
func (c Config) dialer() *net.Dialer {
	d := &net.Dialer{KeepAlive: -1}
	if c.KeepAliveIdle > 0 {
		d.KeepAlive = 0
		d.KeepAliveConfig = net.KeepAliveConfig{
			Enable:   true,
			Idle:     c.KeepAliveIdle,
			Interval: orSystem(c.KeepAliveInterval),
			Count:    int(c.KeepAliveCount),
		}
	}
	if c.TCPUserTimeout > 0 {
		timeout := c.TCPUserTimeout
		d.Control = func(network, _ string, raw syscall.RawConn) error {
			if !strings.HasPrefix(network, "tcp") {
				return nil
			}
			var err error
			controlErr := raw.Control(func(fd uintptr) { err = setUserTimeout(fd, timeout) })
			return errors.Join(controlErr, err)
		}
	}
	return d
}

// orSystem keeps the system's own value for 0; net takes 0 for 15 s.
func orSystem(d time.Duration) time.Duration {
	if d <= 0 {
		return -1
	}
	return d
}
