package pgpool_test

import (
	"testing"
	"time"

	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// The primary stops, its standby is promoted, and the pool writes there.
func TestPromotedStandby(t *testing.T) {
	t.Parallel()
	primary := fault.NewServer(t, fault.ServerOptions{})
	standby := primary.Standby(t, nil)
	config := parse(t, fault.HostsURL("read-write", primary, standby))
	config.MaxConns = 4
	pool := connect(t, config, pgpool.WithAcquireTimeout(2*time.Second))
	if _, err := pool.Exec(t.Context(), `create table if not exists notes (id int)`); err != nil {
		t.Fatal(err)
	}
	l := start(t, pool, 4, `insert into notes values (1)`)
	l.answersAgain(t)
	primary.Kill(t)
	before := l.failures()
	eventually(t, func() bool { return l.failures() > before })
	standby.Promote(t)
	l.answersAgain(t)
	l.end(t, 2*time.Second)
	nothingIsLeft(t, pool)
}

// The primary becomes read-only without breaking a connection. A pool that only reads would stay
// there forever without the check of the role.
func TestRoleIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	primary := fault.NewServer(t, fault.ServerOptions{})
	standby := primary.Standby(t, nil)
	standby.Promote(t)
	config := parse(t, fault.HostsURL("read-write", primary, standby))
	config.MaxConns = 2
	var log logs
	pool := connect(t, config, pgpool.WithLogger(log.Logger()))
	pid := pidOf(t, pool)
	primary.Exec(t, `alter system set default_transaction_read_only = on`, `select pg_reload_conf()`)
	eventually(t, func() bool {
		if err := pool.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		return len(log.Lines("leads to the wrong server")) == 1
	})
	var readOnly string
	if err := pool.QueryRow(t.Context(), `show transaction_read_only`).Scan(&readOnly); err != nil ||
		readOnly != "off" {
		t.Errorf("transaction_read_only is %s, %v; want off", readOnly, err)
	}
	if after := pidOf(t, pool); after == pid {
		t.Error("the connection was kept")
	}
}
