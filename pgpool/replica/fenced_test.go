package replica_test

import (
	"testing"
	"time"

	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// After a failover the old primary still runs, read-only, and its position stands still. Replicas
// are compared with the server that the writers use.
func TestFencedPrimary(t *testing.T) {
	t.Parallel()
	old := fault.NewServer(t, fault.ServerOptions{})
	next := old.Standby(t, nil)
	follower := next.Standby(t, nil) // streams from next and follows its promotion
	stayed := old.Standby(t, nil)
	old.Exec(t, `create table notes (id int)`)
	c := open(t, config(t, fault.HostsURL("read-write", old, next), []string{follower.URL(), stayed.URL()},
		"DATABASE_REPLICA_MAX_LAG=2s"), pgpool.WithAcquireTimeout(10*time.Second))
	used(t, c, follower.SocketDir(), stayed.SocketDir())

	old.Exec(t, `alter system set default_transaction_read_only = on`, `select pg_reload_conf()`)
	next.Promote(t)
	eventually(t, func() bool {
		_, err := c.Primary().Exec(t.Context(), `insert into notes values (1)`)
		return err == nil
	}, func() any { return "no write" })
	next.Exec(t, `checkpoint`)
	follower.CatchUp(t)
	used(t, c, follower.SocketDir())

	follower.PauseReplay(t)
	execute(t, c.Primary(), `insert into notes values (2)`)
	after := token(t, c)
	if pool := c.ReaderAfter(t.Context(), after); host(pool) == follower.SocketDir() {
		t.Error("a reader with a token went to a replica that does not show the write")
	}
	eventually(t, func() bool { return c.Replicas()[0].Err != nil }, func() any { return c.Replicas() })
}
