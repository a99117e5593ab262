package pgconfig_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgconfig"
)

// TestKeepAliveHook: a hook of the configuration runs first, and its error counts.
func TestKeepAliveHook(t *testing.T) {
	t.Parallel()
	cfg, err := pgx.ParseConfig("postgres://u@localhost/d?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	pgconfig.KeepAlive{}.Apply(cfg)
	if cfg.AfterNetConnect != nil {
		t.Error("the zero value installs a hook")
	}
	ours, theirs := net.Pipe() // no TCP socket
	defer ours.Close()
	defer theirs.Close()
	broken := errors.New("no")
	fail := false
	cfg.AfterNetConnect = func(_ context.Context, _ *pgconn.Config, conn net.Conn) (net.Conn, error) {
		if fail {
			return conn, broken
		}
		return ours, nil
	}
	pgconfig.KeepAlive{Idle: -1}.Apply(cfg)
	conn, err := cfg.AfterNetConnect(t.Context(), &cfg.Config, theirs)
	if conn != ours || err != nil {
		t.Errorf("got %v and %v", conn, err)
	}
	fail = true
	if _, err := cfg.AfterNetConnect(t.Context(), &cfg.Config, theirs); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}
