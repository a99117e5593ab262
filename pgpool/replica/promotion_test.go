package replica_test

import (
	"testing"
	"time"

	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/replica"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// A standby that lacks the end of the log is promoted while another one has it. The other one is
// then ahead of the new primary by position, but shows none of its writes.
func TestPromotion(t *testing.T) {
	t.Parallel()
	old := fault.NewServer(t, fault.ServerOptions{})
	next, astray := old.Standby(t, nil), old.Standby(t, nil)
	follower := next.Standby(t, nil) // streams from next and follows its promotion
	old.Exec(t, `create table notes (id int)`)
	c := open(t, config(t, fault.HostsURL("read-write", old, next), []string{astray.URL(), follower.URL()}),
		pgpool.WithAcquireTimeout(10*time.Second))
	used(t, c, astray.SocketDir(), follower.SocketDir())
	before := token(t, c)
	hosts := map[string]bool{}
	eventually(t, func() bool {
		hosts[host(c.ReaderAfter(t.Context(), before))] = true
		return hosts[astray.SocketDir()] && hosts[follower.SocketDir()]
	}, func() any { return hosts })

	next.Link().Refuse()
	receiver := dial(t, next)
	eventually(t, func() bool {
		var receivers int
		err := receiver.QueryRow(t.Context(), `select count(*) from pg_stat_wal_receiver`).Scan(&receivers)
		return err == nil && receivers == 0
	}, func() any { return "still receiving" })
	old.Exec(t, `insert into notes select generate_series(1, 50000)`)
	lost := token(t, c)
	eventually(t, func() bool {
		return host(c.ReaderAfter(t.Context(), lost)) == astray.SocketDir()
	}, func() any { return c.Replicas() })
	old.Kill(t)
	next.Promote(t)
	eventually(t, func() bool {
		_, err := c.Primary().Exec(t.Context(), `create table after_promotion (id int)`)
		return err == nil
	}, func() any { return "no write" })
	after := token(t, c)
	if after.String()[19:27] != "00000002" {
		t.Fatalf("the token is %s; want timeline 2", after)
	}
	next.Exec(t, `checkpoint`)
	used(t, c, astray.SocketDir(), follower.SocketDir())
	if ahead, behind := position(t, astray), insertPosition(t, next); ahead <= behind {
		t.Fatalf("the replica is at %d, not ahead of the new primary at %d: the test shows nothing", ahead, behind)
	}
	eventually(t, func() bool { return c.Replicas()[0].Lag > 0 }, func() any { return c.Replicas() })
	for began := time.Now(); time.Since(began) < 4*time.Second; time.Sleep(20 * time.Millisecond) { // several looks
		if status := c.Replicas()[0]; status.Lag == 0 {
			t.Fatalf("a replica that went another way than the primary has everything: %+v", status)
		}
	}

	ctx := replica.WithToken(t.Context(), after)
	served := map[string]int{}
	eventually(t, func() bool {
		pool := c.Reader(ctx)
		served[host(pool)]++
		if _, err := pool.Exec(ctx, `select from after_promotion`); err != nil {
			t.Fatalf("a reader with the token does not see the write: %v", err)
		}
		return served[follower.SocketDir()] >= 10
	}, func() any { return served })
	if served[astray.SocketDir()] != 0 {
		t.Errorf("readers went to %v, with the astray one %s", served, astray.SocketDir())
	}
	// What was before the promotion is on all of them, but positions of two timelines are not
	// compared.
	if pool := c.ReaderAfter(t.Context(), before); host(pool) == follower.SocketDir() {
		t.Error("a token of the old timeline was led to a replica on the new one")
	}
}
