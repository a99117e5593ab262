package pgconfig_test

import (
	"crypto/tls"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgconfig"
)

const tcpUserTimeout = 0x12 // package syscall does not have it

// TestDialer asks the system for the options of the socket.
func TestDialer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg, err := pgconfig.Parse("postgres://u@" + l.Addr().String() +
		"/d?keepalives_idle=7&keepalives_interval=3&keepalives_count=4&tcp_user_timeout=1500")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "options", options(t, cfg, l.Addr().String()), [5]int{1, 7, 3, 4, 1500})

	only, err := pgx.ParseConfig("postgres://u@localhost/d?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	pgconfig.KeepAlive{UserTimeout: time.Second}.Apply(only)
	got := optionsOf(t, only, l.Addr().String())
	equal(t, "keepalive as dialed", got[0], 1)
	equal(t, "probes as dialed", got[3], 9)
	equal(t, "user timeout", got[4], 1000)

	cfg.KeepAliveInterval = 0
	equal(t, "Go's interval", options(t, cfg, l.Addr().String())[2], 15)

	cfg.KeepAliveIdle, cfg.TCPUserTimeout = 0, 0
	got = options(t, cfg, l.Addr().String())
	equal(t, "keepalive", got[0], 0)
	equal(t, "user timeout", got[4], 0)

	cfg.TCPUserTimeout = time.Microsecond
	equal(t, "user timeout rounded up", options(t, cfg, l.Addr().String())[4], 1)
}

func options(t *testing.T, cfg pgconfig.Config, address string) (values [5]int) {
	t.Helper()
	cc, err := cfg.DirectConfig()
	if err != nil {
		t.Fatal(err)
	}
	return optionsOf(t, cc, address)
}

func optionsOf(t *testing.T, cc *pgx.ConnConfig, address string) (values [5]int) {
	t.Helper()
	conn, err := cc.DialFunc(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	layered := tls.Client(conn, &tls.Config{ServerName: "localhost"}) // as the hook sees it with TLS
	if _, err := cc.AfterNetConnect(t.Context(), &cc.Config, layered); err != nil {
		t.Fatal(err)
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		for i, o := range [][2]int{
			{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT},
			{syscall.IPPROTO_TCP, tcpUserTimeout},
		} {
			if values[i], err = syscall.GetsockoptInt(int(fd), o[0], o[1]); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return values
}
