package replica_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/replica"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// A replica that reconnects over a slow link has replayed everything it received, and is still far
// behind. An ordinary role notices that too.
func TestLagIsMeasuredAgainstThePrimary(t *testing.T) {
	t.Parallel()
	p := fault.NewServer(t, fault.ServerOptions{})
	p.Exec(t, `create table notes (body text)`, `create role reader login`, `grant select on notes to reader`)
	a := p.Standby(t, nil)
	a.CatchUp(t)
	ordinary := func(s *fault.Server) string { return strings.Replace(s.URL(), "postgres@", "reader@", 1) }
	c := open(t, config(t, ordinary(p), []string{ordinary(a)}, "DATABASE_REPLICA_MAX_LAG=1s"))
	used(t, c, a.SocketDir())
	if lag := c.Replicas()[0].Lag; lag != 0 {
		t.Errorf("lag of a replica that has everything is %s, want 0", lag)
	}

	a.Link().Refuse()
	p.Exec(t, `insert into notes select repeat('x', 1000) from generate_series(1, 20000)`)
	a.Link().Heal()
	a.Link().Rate(fault.FromServer, 300_000) // a minute to catch up
	used(t, c)
	began := time.Now()
	for time.Since(began) < 4*time.Second { // over several looks, while it receives and replays
		if status := c.Replicas()[0]; status.Err == nil || status.Lag == 0 {
			t.Fatalf("%s after the link came back: lag %s, %v; it lacks megabytes", time.Since(began),
				status.Lag, status.Err)
		}
		if c.Reader(t.Context()) != c.Primary() {
			t.Fatal("reads go to a replica that lacks megabytes")
		}
		time.Sleep(20 * time.Millisecond) // reads go on for a while
	}
	var lag *replica.LagError
	if err := c.Replicas()[0].Err; !errors.As(err, &lag) || lag.Lag < 3*time.Second {
		t.Errorf("error is %v, want a lag of more than 3s", err)
	}
	a.Link().Heal()
	used(t, c, a.SocketDir())
}

// A replica can reach a token that was captured right after a switch of the WAL segment.
func TestTokenAfterASegmentSwitch(t *testing.T) {
	t.Parallel()
	p := fault.NewServer(t, fault.ServerOptions{})
	a := p.Standby(t, nil)
	c := open(t, config(t, p.URL(), []string{a.URL()}))
	used(t, c, a.SocketDir())
	p.Exec(t, `create table notes (id int)`, `select pg_switch_wal()`)
	written := token(t, c)
	flushed := logPosition(t, p, `pg_current_wal_flush_lsn()`)
	eventually(t, func() bool { return position(t, a) >= flushed }, func() any { return "not replayed" })
	text := written.String()
	lsn, err := strconv.ParseInt(text[len(text)-16:], 16, 64)
	if replayed := position(t, a); err != nil || lsn > replayed {
		t.Errorf("the token is at %x, and a replica that has everything at %x: %v", lsn, replayed, err)
	}
}

// The loss of the health connection says nothing about the replica.
func TestReplicaStaysInUseWithoutItsHealthConnection(t *testing.T) {
	t.Parallel()
	p := fault.NewServer(t, fault.ServerOptions{})
	a := p.Standby(t, nil)
	var log logs
	c := open(t, config(t, p.URL(), []string{a.URL()}), pgpool.WithLogger(log.Logger()))
	used(t, c, a.SocketDir())
	admin, err := pgx.Connect(t.Context(), a.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	spoiled := 0
	for range 5 {
		eventually(t, func() bool { // the connection is made again after the last one
			var ended int
			err := admin.QueryRow(t.Context(), `select count(pg_terminate_backend(pid, 10000)) from pg_stat_activity
				where pid <> pg_backend_pid() and backend_type = 'client backend'
					and query like '%pg_is_in_recovery%'`).Scan(&ended)
			if err != nil {
				t.Fatal(err)
			}
			return ended > 0
		}, func() any { return "no session to end" })
		for began := time.Now(); time.Since(began) < 300*time.Millisecond; time.Sleep(time.Millisecond) { // polls
			if c.Reader(t.Context()) != c.Primary() {
				continue
			}
			if !strings.Contains(log.String(), "category=timeout") {
				t.Fatalf("the replica is out of use:\n%s", &log)
			}
			spoiled++ // on a busy machine a look may take more than 2 s
			used(t, c, a.SocketDir())
		}
	}
	if spoiled == 0 && strings.Contains(log.String(), "replica is not read from") || spoiled >= 5 {
		t.Errorf("the replica was left:\n%s", &log)
	}
}

// Reader takes the replica with fewer connections in use.
func TestReaderPrefersTheIdleReplica(t *testing.T) {
	t.Parallel()
	p := fault.NewServer(t, fault.ServerOptions{})
	a, b := p.Standby(t, nil), p.Standby(t, nil)
	c := open(t, config(t, p.URL(), []string{a.URL(), b.URL()}))
	used(t, c, a.SocketDir(), b.SocketDir())
	busy := c.Reader(t.Context())
	conn, err := busy.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if c.Reader(t.Context()) == busy {
			t.Error("read from the replica that is in use")
		}
	}
	conn.Release()
	if got := reads(t, c, 10); len(got) != 2 {
		t.Errorf("10 readers went to %v, want both when both are idle", got)
	}
	if conn, err = busy.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := conn.Hijack().Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return len(reads(t, c, 10)) == 2 },
		func() any { return "a hijacked connection counts as one in use" })
}

// A caller that gives up, and what it does on its connection afterwards, says nothing about the
// server.
func TestCallersThatHangUpDoNotCostAReplica(t *testing.T) {
	t.Parallel()
	p := fault.NewServer(t, fault.ServerOptions{})
	a := p.Standby(t, nil)
	var log logs
	c := open(t, config(t, p.URL(), []string{a.URL()}), pgpool.WithLogger(log.Logger()))
	used(t, c, a.SocketDir())
	for hungUp := 0; hungUp < 10; {
		tx, err := c.Reader(t.Context()).Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if _, err := tx.Exec(ctx, `select pg_sleep(60)`); err == nil {
			t.Fatal("slept through")
		}
		cancel()
		if _, err := tx.Exec(t.Context(), `select 1`); err != nil { // else ctx ended before anything was sent
			hungUp++
		}
		_ = tx.Rollback(t.Context())
		if c.Reader(t.Context()) == c.Primary() {
			t.Fatal("the replica is out of use")
		}
	}
	if strings.Contains(log.String(), "replica is not read from") {
		t.Errorf("the replica was left:\n%s", &log)
	}
}
