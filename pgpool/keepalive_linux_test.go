package pgpool_test

import (
	"context"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	const tcpKeepIdle, tcpUserTimeout = 4, 0x12 // <linux/tcp.h>
	for name, tt := range map[string]struct {
		opts              []pgpool.Option
		idle, userTimeout int
	}{
		"default": {nil, 30, 60_000},
		"option": {
			[]pgpool.Option{
				pgpool.WithKeepAlive(pgpool.KeepAlive{
					Idle: 7 * time.Second, Interval: time.Second, Count: 2, UserTimeout: 9 * time.Second,
				}),
			}, 7, 9_000,
		},
		"as it is dialed": {[]pgpool.Option{pgpool.WithKeepAlive(pgpool.KeepAlive{})}, 15, 0}, // net's default
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := database(t)
			through(t, config, fault.Options{})
			var called bool
			config.ConnConfig.AfterNetConnect = func(
				_ context.Context, _ *pgconn.Config, conn net.Conn,
			) (net.Conn, error) {
				called = true
				return conn, nil
			}
			conn := acquire(t, connect(t, config, tt.opts...))
			raw, err := conn.Conn().PgConn().Conn().(*net.TCPConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			var idle, userTimeout int
			_ = raw.Control(func(fd uintptr) {
				idle, _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpKeepIdle)
				userTimeout, _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout)
			})
			if idle != tt.idle || userTimeout != tt.userTimeout {
				t.Errorf("idle %d, user timeout %d; want %d, %d", idle, userTimeout, tt.idle, tt.userTimeout)
			}
			if !called {
				t.Error("the caller's hook was not called")
			}
		})
	}
}
