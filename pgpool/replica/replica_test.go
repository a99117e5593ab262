package replica_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/replica"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// TestReplicas runs its tests one after the other on one primary with two standbys.
func TestReplicas(t *testing.T) {
	t.Parallel()
	three := newServers(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *servers)
	}{
		{"round robin", roundRobin},
		{"lag beyond the limit", lagBeyondLimit},
		{"read your writes", readYourWrites},
		{"future token", futureToken},
		{"foreign token", foreignToken},
		{"forged tokens", forgedTokens},
		{"asynchronous commit", asynchronousCommit},
		{"ordinary role", ordinaryRole},
		{"session ended", sessionEnded},
		{"killed and back", killedAndBack},
		{"down at start", downAtStart},
		{"primary lost", primaryLost},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, three) })
	}
}

type servers struct{ p, a, b *fault.Server }

func newServers(t *testing.T) *servers {
	t.Helper()
	p := fault.NewServer(t, fault.ServerOptions{})
	p.Exec(t, `create table counters (id int primary key, n int not null)`, `create role reader login`,
		`grant select on counters to reader`)
	return &servers{p, p.Standby(t, nil), p.Standby(t, nil)}
}

func (s *servers) open(t *testing.T, settings ...string) *replica.Cluster {
	t.Helper()
	c := open(t, config(t, s.p.URL(), []string{s.a.URL(), s.b.URL()}, settings...))
	used(t, c, s.a.SocketDir(), s.b.SocketDir())
	return c
}

func roundRobin(t *testing.T, s *servers) {
	c := s.open(t)
	if got := reads(t, c, 100); got[s.a.SocketDir()] != 50 || got[s.b.SocketDir()] != 50 {
		t.Errorf("100 readers went to %v; want 50 to each of %s and %s", got, s.a.SocketDir(), s.b.SocketDir())
	}
	var standby bool
	if err := c.Reader(t.Context()).QueryRow(t.Context(), `select pg_is_in_recovery()`).Scan(&standby); err != nil ||
		!standby {
		t.Errorf("read from a standby: %v, %v", standby, err)
	}
}

// A replica that is known to have replayed the token costs no round trip, which would allocate. It
// is not parallel because all allocations of the process count.
func TestKnownToken(t *testing.T) {
	s := newServers(t)
	c := s.open(t)
	execute(t, c.Primary(), `insert into counters values (-1, 0) on conflict (id) do update set n = counters.n + 1`)
	written := token(t, c)
	ctx := replica.WithToken(t.Context(), written)
	hosts := map[string]bool{}
	eventually(t, func() bool {
		hosts[host(c.Reader(ctx))] = true
		return hosts[s.a.SocketDir()] && hosts[s.b.SocketDir()]
	}, func() any { return hosts })
	for name, ctx := range map[string]context.Context{"with": ctx, "without": t.Context()} {
		if allocations := testing.AllocsPerRun(10_000, func() { c.Reader(ctx) }); allocations != 0 {
			t.Errorf("%s a token: %v allocations", name, allocations)
		}
	}
}

func lagBeyondLimit(t *testing.T, s *servers) {
	c := s.open(t, "DATABASE_REPLICA_MAX_LAG=200ms")
	s.a.PauseReplay(t)
	execute(t, c.Primary(), `insert into counters values (-2, 0) on conflict (id) do update set n = counters.n + 1`)
	used(t, c, s.b.SocketDir())
	var lag *replica.LagError
	if err := c.Replicas()[0].Err; !errors.As(err, &lag) || lag.Lag <= 200*time.Millisecond {
		t.Errorf("the paused replica: %v; want a LagError beyond 200 ms", err)
	}
	if got := reads(t, c, 10); got[s.b.SocketDir()] != 10 {
		t.Errorf("10 readers went to %v; want %s", got, s.b.SocketDir())
	}
	s.b.PauseReplay(t)
	execute(t, c.Primary(), `insert into counters values (-2, 0) on conflict (id) do update set n = counters.n + 1`)
	used(t, c)
	if c.Reader(t.Context()) != c.Primary() {
		t.Error("both are paused, and the reader is not the primary")
	}
	s.a.ResumeReplay(t)
	s.b.ResumeReplay(t)
	used(t, c, s.a.SocketDir(), s.b.SocketDir())
}

// Writers read their own writes while one replica is paused. With the token they never see an older
// state; without it they sometimes do.
func readYourWrites(t *testing.T, s *servers) {
	const writers, rounds = 4, 40
	c := s.open(t)
	execute(t, c.Primary(), `insert into counters select id, 0 from generate_series(1, $1) id`, writers)
	primary := token(t, c)
	eventually(t, func() bool { // both have the table's rows
		known := map[string]bool{}
		for range 4 {
			known[host(c.ReaderAfter(t.Context(), primary))] = true
		}
		return known[s.a.SocketDir()] && known[s.b.SocketDir()]
	}, func() any { return c.Replicas() })
	s.a.PauseReplay(t)

	var violations, stale, fromReplica, fromPaused atomic.Int64
	var running sync.WaitGroup
	for id := 1; id <= writers; id++ {
		running.Go(func() {
			for n := 1; n <= rounds; n++ {
				if _, err := c.Primary().Exec(t.Context(), `update counters set n = $2 where id = $1`,
					id, n); err != nil {
					t.Error(err)
					return
				}
				written, err := c.Token(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				carried, err := replica.ParseToken(written.String())
				if err != nil {
					t.Error(err)
					return
				}
				read := func(ctx context.Context) (n int, from string) {
					pool := c.Reader(ctx)
					if err := pool.QueryRow(ctx, `select n from counters where id = $1`, id).Scan(&n); err != nil {
						t.Error(err)
					}
					return n, host(pool)
				}
				got, from := read(replica.WithToken(t.Context(), carried))
				if got < n {
					violations.Add(1)
				}
				if from == s.b.SocketDir() {
					fromReplica.Add(1)
				}
				if from == s.a.SocketDir() {
					fromPaused.Add(1)
				}
				if got, _ := read(t.Context()); got < n {
					stale.Add(1)
				}
			}
		})
	}
	running.Wait()
	s.a.ResumeReplay(t)
	t.Logf("%d reads with token: %d older than the write, %d from the replica that keeps up; without: %d older",
		writers*rounds, violations.Load(), fromReplica.Load(), stale.Load())
	if violations.Load() != 0 || fromPaused.Load() != 0 {
		t.Errorf("with the token %d reads were older than the write, %d came from the paused replica",
			violations.Load(), fromPaused.Load())
	}
	if stale.Load() == 0 {
		t.Error("without the token no read was older than the write: the test shows nothing")
	}
	if fromReplica.Load() == 0 {
		t.Error("with the token no read came from the replica that keeps up")
	}
}

// A token beyond the end of the primary's log was made up. Its reader neither waits nor goes to the
// primary.
func futureToken(t *testing.T, s *servers) {
	c := s.open(t)
	text := token(t, c).String()
	future, err := replica.ParseToken(text[:len(text)-16] + "7fffffffffffffff")
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if c.ReaderAfter(t.Context(), future) == c.Primary() {
			t.Error("a token from the future is led to the primary")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if c.ReaderAfter(ctx, future) != c.Primary() {
		t.Error("a context that has ended is not led to the primary")
	}
}

// A token of another cluster stands for nothing. One of another timeline may stand for a write that
// a replica does not show.
func foreignToken(t *testing.T, s *servers) {
	c := s.open(t)
	text := token(t, c).String()
	for name, tt := range map[string]struct {
		text    string
		primary bool
	}{
		"a later timeline":  {text[:19] + "00000009" + "-0000000000000001", true},
		"an older timeline": {text[:19] + "00000000" + "-0000000000000001", true},
		"another cluster":   {"1-00000000000000ff" + text[18:27] + "-0000000000000001", false},
	} {
		parsed, err := replica.ParseToken(tt.text)
		if err != nil {
			t.Fatal(name, err)
		}
		if got := c.ReaderAfter(t.Context(), parsed) == c.Primary(); got != tt.primary {
			t.Errorf("a token of %s: led to the primary %v, want %v", name, got, tt.primary)
		}
	}
}

// Clients that forge tokens take no connection of the primary's pool, and delay only themselves: at
// most by WaitLimit and the time to ask for the primary's position.
func forgedTokens(t *testing.T, s *servers) {
	c := s.open(t)
	const callers, calls = 8, 75
	const bound = calls * (250*time.Millisecond + replica.WaitLimit)
	text := token(t, c).String()
	acquired := c.Primary().Stat().AcquireCount()
	var running sync.WaitGroup
	for name, text := range map[string]string{
		"another cluster":  "1-00000000000000ff" + text[18:],
		"another timeline": text[:19] + "00000009" + text[27:],
		"beyond the end":   text[:len(text)-16] + "7fffffffffffffff",
		"just ahead":       text[:len(text)-2] + "ff",
	} {
		forged, err := replica.ParseToken(text)
		if err != nil {
			t.Fatal(name, err)
		}
		for range callers {
			running.Go(func() {
				began := time.Now()
				for range calls {
					c.ReaderAfter(t.Context(), forged)
				}
				if took := time.Since(began); took > bound {
					t.Errorf("%s: %d readers took %v; want at most %v", name, calls, took, bound)
				}
			})
		}
	}
	over := make(chan struct{})
	go func() { running.Wait(); close(over) }()
	honest, misled := 0, 0
	for flooded := true; flooded || honest < 100; honest++ {
		if c.Reader(t.Context()) == c.Primary() {
			misled++
		}
		select {
		case <-over:
			flooded = false
		case <-time.After(time.Millisecond):
		}
	}
	if misled != 0 {
		t.Errorf("%d of %d readers without a token were led to the primary", misled, honest)
	}
	if n := c.Primary().Stat().AcquireCount() - acquired; n != 0 {
		t.Errorf("forged tokens took %d connections of the primary's pool", n)
	}
}

// A token covers a commit that is not flushed yet, although no replica has it.
func asynchronousCommit(t *testing.T, s *servers) {
	c := s.open(t)
	execute(t, c.Primary(), `insert into counters values (100, 0)`)
	for n := 1; n <= 10; n++ {
		execute(t, c.Primary(),
			`with s as (select set_config('synchronous_commit', 'off', true)) update counters set n = $1 from s
				where id = 100`, n)
		var got int
		err := c.ReaderAfter(t.Context(), token(t, c)).QueryRow(t.Context(),
			`select n from counters where id = 100`).Scan(&got)
		if err != nil || got != n {
			t.Fatalf("read %d, %v after writing %d", got, err, n)
		}
	}
}

// All of it works for a role that may not see the server's statistics.
func ordinaryRole(t *testing.T, s *servers) {
	as := func(url string) string { return strings.Replace(url, "postgres@", "reader@", 1) }
	c := open(t, config(t, as(s.p.URL()), []string{as(s.a.URL()), as(s.b.URL())}))
	used(t, c, s.a.SocketDir(), s.b.SocketDir())
	written := token(t, c)
	eventually(t, func() bool {
		return c.ReaderAfter(t.Context(), written) != c.Primary()
	}, func() any { return c.Replicas() })
}

func killedAndBack(t *testing.T, s *servers) {
	var log logs
	c := open(t, config(t, s.p.URL(), []string{s.a.URL(), s.b.URL()}), pgpool.WithLogger(log.Logger()))
	used(t, c, s.a.SocketDir(), s.b.SocketDir())
	s.a.Kill(t)
	used(t, c, s.b.SocketDir())
	if got := reads(t, c, 10); got[s.b.SocketDir()] != 10 {
		t.Errorf("10 readers went to %v; want %s", got, s.b.SocketDir())
	}
	s.b.Kill(t)
	used(t, c)
	if c.Reader(t.Context()) != c.Primary() {
		t.Error("both are down, and the reader is not the primary")
	}
	if c.ReaderAfter(t.Context(), token(t, c)) != c.Primary() {
		t.Error("both are down, and the reader with a token is not the primary")
	}
	s.a.Start(t)
	s.b.Start(t)
	used(t, c, s.a.SocketDir(), s.b.SocketDir())
	for range 4 {
		var standby bool
		if err := c.Reader(t.Context()).QueryRow(t.Context(),
			`select pg_is_in_recovery()`).Scan(&standby); err != nil || !standby {
			t.Errorf("read from a standby: %v, %v", standby, err)
		}
	}
	for _, want := range []string{`msg="replica is not read from"`, "category=", `msg="replica is read from"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %s:\n%s", want, log.String())
		}
	}
}

func downAtStart(t *testing.T, s *servers) {
	s.a.Kill(t)
	c := open(t, config(t, s.p.URL(), []string{s.a.URL(), s.b.URL()}))
	used(t, c, s.b.SocketDir())
	if got := reads(t, c, 10); got[s.b.SocketDir()] != 10 {
		t.Errorf("10 readers went to %v; want %s", got, s.b.SocketDir())
	}
	s.a.Start(t)
	used(t, c, s.a.SocketDir(), s.b.SocketDir())
}

// When the primary is lost, the lag of a replica that had everything does not include the time
// without writes. Here that time is not even known, because the replica has replayed no commit
// since it started.
func primaryLost(t *testing.T, s *servers) {
	const rounds = 5 // a look that takes more than 2 s, on a busy machine, spoils one
	for range rounds {
		s.p.Exec(t, `checkpoint`)
		end := insertPosition(t, s.p)
		// It may be after a page's header.
		eventually(t, func() bool { return position(t, s.a) >= end-24 }, func() any { return "not replayed" })
		s.a.Exec(t, `checkpoint`)
		s.a.Kill(t)
		s.a.Start(t)
		c := s.open(t)
		s.p.Kill(t)
		eventually(t, func() bool { return c.Replicas()[0].Lag != 0 }, func() any { return c.Replicas() })
		lag, reader := c.Replicas()[0].Lag, c.Reader(t.Context())
		s.p.Start(t)
		if lag > 0 && reader != c.Primary() {
			return
		}
	}
	t.Errorf("%d times the replica's lag was not known when the primary was lost", rounds)
}

// Replicas that are not standbys, and a configuration without replicas.
func TestNoReplica(t *testing.T) {
	t.Parallel()
	database := pgserver.Database(t)
	c := open(t, config(t, database, nil))
	if c.Reader(t.Context()) != c.Primary() || c.ReaderAfter(t.Context(), token(t, c)) != c.Primary() {
		t.Error("without replicas the reader is not the primary")
	}
	if len(c.Replicas()) != 0 {
		t.Error("there are replicas")
	}

	c = open(t, config(t, database, []string{database}))
	eventually(t, func() bool {
		return errors.Is(c.Replicas()[0].Err, replica.ErrNotStandby)
	}, func() any { return c.Replicas() })
	if c.Reader(t.Context()) != c.Primary() {
		t.Error("the reader is not the primary")
	}

	_, err := replica.Open(t.Context(),
		config(t, database, []string{"postgres://postgres@/app?host=/nowhere,/nobody&port=1,2"}),
		pgpool.WithLogger(nil))
	var about *replica.Error
	if !errors.Is(err, replica.ErrSeveralHosts) || !errors.As(err, &about) || about.Host != "/nowhere" {
		t.Errorf("two hosts in one URL: %v", err)
	}
}

// A server of another cluster is not used, even if it is a standby.
func TestOtherCluster(t *testing.T) {
	t.Parallel()
	p := fault.NewServer(t, fault.ServerOptions{})
	c := open(t, config(t, pgserver.Database(t), []string{p.URL()}))
	eventually(t, func() bool {
		return errors.Is(c.Replicas()[0].Err, replica.ErrOtherCluster)
	}, func() any { return c.Replicas() })
	if c.Reader(t.Context()) != c.Primary() {
		t.Error("the reader is not the primary")
	}
}

// Shutdown names the holders that are left, and still ends.
func TestShutdown(t *testing.T) {
	t.Parallel()
	c, err := replica.Open(t.Context(), config(t, pgserver.Database(t), nil), pgpool.WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := c.Reader(t.Context()).Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	var held *pgpool.ShutdownError
	if err := c.Shutdown(ended); !errors.As(err, &held) || held.InUse != 1 {
		t.Errorf("shutdown with one connection in use: %v", err)
	}
	conn.Release()
	if err := c.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
