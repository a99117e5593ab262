package replica_test

import (
	"testing"
	"time"

	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/replica"
)

// A standby that lacks the end of the log is promoted, while another one has it. That one is then
// ahead of the new primary by position, and shows none of its writes.
func TestPromotion(t *testing.T) {
	t.Parallel()
	old := startPrimary(t)
	next, astray := old.standby(t), old.standby(t)
	follower := next.standby(t) // receives from next, and goes with it
	old.exec(t, `create table notes (id int)`)
	c := open(t, config(t, old.url("read-write", next), []string{astray.url("any"), follower.url("any")}), pgpool.WithAcquireTimeout(10*time.Second))
	used(t, c, astray.dir, follower.dir)
	before := token(t, c)
	hosts := map[string]bool{}
	eventually(t, func() bool {
		hosts[host(c.ReaderAfter(t.Context(), before))] = true
		return hosts[astray.dir] && hosts[follower.dir]
	}, func() any { return hosts })

	next.exec(t, `alter system set primary_conninfo = ''`, `select pg_reload_conf()`)
	eventually(t, func() bool {
		var receivers int
		conn := next.conn(t)
		defer conn.Close(t.Context())
		return conn.QueryRow(t.Context(), `select count(*) from pg_stat_wal_receiver`).Scan(&receivers) == nil && receivers == 0
	}, func() any { return "still receiving" })
	old.exec(t, `insert into notes select generate_series(1, 50000)`)
	lost := token(t, c)
	eventually(t, func() bool { return host(c.ReaderAfter(t.Context(), lost)) == astray.dir }, func() any { return c.Replicas() })
	old.stop(t)
	next.exec(t, `select pg_promote()`)
	eventually(t, func() bool {
		_, err := c.Primary().Exec(t.Context(), `create table after_promotion (id int)`)
		return err == nil
	}, func() any { return "no write" })
	after := token(t, c)
	if after.String()[19:27] != "00000002" {
		t.Fatalf("the token is %s; want timeline 2", after)
	}
	next.exec(t, `checkpoint`)
	used(t, c, astray.dir, follower.dir)
	if ahead, behind := astray.position(t), next.insertPosition(t); ahead <= behind {
		t.Fatalf("the replica is at %d, not ahead of the new primary at %d: the test shows nothing", ahead, behind)
	}

	ctx := replica.WithToken(t.Context(), after)
	served := map[string]int{}
	eventually(t, func() bool {
		pool := c.Reader(ctx)
		served[host(pool)]++
		if _, err := pool.Exec(ctx, `select from after_promotion`); err != nil {
			t.Fatalf("a reader with the token does not see the write: %v", err)
		}
		return served[follower.dir] >= 10
	}, func() any { return served })
	if served[astray.dir] != 0 {
		t.Errorf("readers went to %v, with the astray one %s", served, astray.dir)
	}
	// What was before the promotion is on all of them, but positions of two timelines are not
	// compared.
	if pool := c.ReaderAfter(t.Context(), before); host(pool) == follower.dir {
		t.Error("a token of the old timeline was led to a replica on the new one")
	}
}
