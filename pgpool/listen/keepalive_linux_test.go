package listen_test

import (
	"context"
	"net"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// While the listener waits, only keepalive notices a peer that vanished.
func TestListenerKeepsItsConnectionAlive(t *testing.T) {
	t.Parallel()
	const tcpKeepIdle, tcpUserTimeout = 4, 0x12 // <linux/tcp.h>
	config := database(t)
	through(t, config)
	listener := newListener(t, config)
	found := make(chan [2]int, 1)
	handle(t, listener, "pages", nil, func(_ context.Context, conn *pgx.Conn) error {
		raw, err := conn.PgConn().Conn().(*net.TCPConn).SyscallConn()
		if err != nil {
			return err
		}
		return raw.Control(func(fd uintptr) {
			idle, _ := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpKeepIdle)
			userTimeout, _ := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout)
			found <- [2]int{idle, userTimeout}
		})
	})
	run(t, listener)
	if got, want := receive(t, found), [2]int{30, 60_000}; got != want { // pgpool.DefaultKeepAlive
		t.Errorf("idle and user timeout are %v, want %v", got, want)
	}
}
