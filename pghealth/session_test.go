package pghealth_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// BeforeConnect sets passwords that expire.
func TestBeforeConnectIsCalled(t *testing.T) {
	t.Parallel()
	raw := fault.NewServer(t, fault.ServerOptions{TCP: true}).URL()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal("the test server's URL does not parse")
	}
	current, _ := u.User.Password()
	pool := newPool(t, raw, func(cfg *pgxpool.Config) {
		cfg.ConnConfig.Password = "expired-" + password
		cfg.BeforeConnect = func(_ context.Context, cfg *pgx.ConnConfig) error {
			cfg.Password = current
			return nil
		}
	})
	probe, log := newProbe(t, pool, pghealth.Options{})
	r := get(t, pool, probe.Ready())
	wantCode(t, r, http.StatusOK)
	if strings.Contains(log.String()+r.body, current) {
		t.Error("the password got out")
	}
}

// If AfterConnect fails, the pool cannot connect either.
func TestAfterConnectDecides(t *testing.T) {
	t.Parallel()
	var refuse atomic.Bool
	refuse.Store(true)
	pool := newPool(t, pgserver.Database(t), func(cfg *pgxpool.Config) {
		cfg.AfterConnect = func(context.Context, *pgx.Conn) error {
			if refuse.Load() {
				return errors.New("no such type")
			}
			return nil
		}
	})
	probe, log := newProbe(t, pool, pghealth.Options{})
	for range 2 {
		r := get(t, pool, probe.Ready())
		wantCode(t, r, http.StatusServiceUnavailable)
		if c := r.check(t, "db:connectivity"); c.Category != "unknown" {
			t.Error(r.body)
		}
	}
	if !strings.Contains(log.String(), "no such type") {
		t.Errorf("log: %s", log)
	}
	refuse.Store(false)
	wantCode(t, get(t, pool, probe.Ready()), http.StatusOK)
}

// The pool's limit on a connection's age applies to the probe too. Without one the probe keeps its
// connection.
func TestMaxConnLifetime(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lifetime time.Duration
		dials    int
	}{
		"over at once": {time.Nanosecond, 3},
		"an hour":      {time.Hour, 1},
		"none":         {0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dials := make(chan struct{}, 10)
			pool := newPool(t, pgserver.Database(t), dialed(dials),
				func(cfg *pgxpool.Config) { cfg.MaxConnLifetime = test.lifetime })
			probe, _ := newProbe(t, pool, pghealth.Options{}) // one query a probe
			for range 3 {
				wantCode(t, get(t, pool, probe.Ready()), http.StatusOK)
			}
			if len(dials) != test.dials {
				t.Errorf("%d connections for 3 probes", len(dials))
			}
		})
	}
}

type queryCount struct{ atomic.Int32 }

func (q *queryCount) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	q.Add(1)
	return ctx
}

func (q *queryCount) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// Probes are not queries of the application.
func TestTracersAreLeftOut(t *testing.T) {
	t.Parallel()
	var queries queryCount
	pool := newPool(t, pgserver.Database(t), func(cfg *pgxpool.Config) { cfg.ConnConfig.Tracer = &queries })
	version := func(ctx context.Context, conn *pgx.Conn) (current, needed int64, dirty bool, err error) {
		err = conn.QueryRow(ctx, "select 1").Scan(&current)
		return current, needed, dirty, err
	}
	probe, _ := newProbe(t, pool, pghealth.Options{Schema: pghealth.SchemaFunc(version)})
	wantCode(t, get(t, pool, probe.Ready()), http.StatusOK)
	if n := queries.Load(); n != 0 {
		t.Errorf("%d queries were traced", n)
	}
	if err := pool.QueryRow(t.Context(), "select 1").Scan(new(int)); err != nil || queries.Load() != 1 {
		t.Errorf("the pool's own queries: %d, %v", queries.Load(), err)
	}
}

// A handshake that takes longer than a probe's timeout is slow, not impossible.
func TestSlowHandshakeServesTheNextProbe(t *testing.T) {
	t.Parallel()
	connect := make(chan struct{})
	var attempts atomic.Int32
	pool := newPool(t, pgserver.Database(t), func(cfg *pgxpool.Config) {
		dial := cfg.ConnConfig.DialFunc
		cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			attempts.Add(1)
			select {
			case <-connect:
				return dial(ctx, network, addr)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	})
	probe, _ := newProbe(t, pool, pghealth.Options{Timeout: 100 * time.Millisecond})
	for range 2 {
		r := get(t, pool, probe.Ready())
		wantCode(t, r, http.StatusServiceUnavailable)
		if c := r.check(t, "db:connectivity"); c.Category != "timeout" {
			t.Error(r.body)
		}
	}
	close(connect)
	wantEventually(t, pool, probe.Ready(), http.StatusOK)
	if n := attempts.Load(); n != 1 {
		t.Errorf("%d attempts to connect", n)
	}
}

// A host that does not answer must not use up the time of the next one.
func TestSecondHostIsReached(t *testing.T) {
	t.Parallel()
	raw := pgserver.Database(t)
	hole, second := fault.NewProxy(t, raw, fault.Options{}), fault.NewProxy(t, raw, fault.Options{})
	hole.Freeze(fault.Both)
	pool := newPool(t, raw, dialProxy(hole), func(cfg *pgxpool.Config) {
		cfg.ConnConfig.ConnectTimeout = time.Minute
		cfg.ConnConfig.Fallbacks = []*pgconn.FallbackConfig{{Host: "127.0.0.1", Port: port(second)}}
	})
	probe, _ := newProbe(t, pool, pghealth.Options{Timeout: time.Second})
	r := get(t, pool, probe.Ready())
	wantCode(t, r, http.StatusServiceUnavailable)
	wantEventually(t, pool, probe.Ready(), http.StatusOK)
}

// The same goes for the first address of a name. pgx looks up names.
func TestSecondAddressIsReached(t *testing.T) {
	t.Parallel()
	raw := pgserver.Database(t)
	hole, second := fault.NewProxy(t, raw, fault.Options{}), fault.NewProxy(t, raw, fault.Options{})
	hole.Freeze(fault.Both)
	pool := newPool(t, raw, dialProxy(second), func(cfg *pgxpool.Config) {
		cfg.ConnConfig.Host = "db.example"
		cfg.ConnConfig.LookupFunc = func(context.Context, string) ([]string, error) {
			return []string{"127.0.0.7", "127.0.0.1"}, nil
		}
		dial := cfg.ConnConfig.DialFunc
		cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if strings.HasPrefix(addr, "127.0.0.7:") {
				addr = hole.Addr()
			}
			return dial(ctx, network, addr)
		}
	})
	probe, _ := newProbe(t, pool, pghealth.Options{Timeout: time.Second})
	wantEventually(t, pool, probe.Ready(), http.StatusOK)
}

// A login may take its time, however many hosts there are.
func TestSlowLoginToTheFirstOfManyHosts(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t), func(cfg *pgxpool.Config) {
		for i := range uint16(4) {
			other := &pgconn.FallbackConfig{Host: "127.0.0.1", Port: i + 1}
			cfg.ConnConfig.Fallbacks = append(cfg.ConnConfig.Fallbacks, other)
		}
		dial := cfg.ConnConfig.DialFunc
		cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			slow := time.NewTimer(2200 * time.Millisecond)
			defer slow.Stop()
			select {
			case <-slow.C:
				return dial(ctx, network, addr)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	})
	probe, _ := newProbe(t, pool, pghealth.Options{Timeout: time.Second})
	wantEventually(t, pool, probe.Ready(), http.StatusOK)
}

// tunnel is a connection without deadlines, like a tunnel of x/crypto/ssh.
type tunnel struct{ net.Conn }

func (tunnel) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (tunnel) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (tunnel) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

// A pool works without deadlines. So does its probe, and it must not hang.
func TestConnectionWithoutDeadlines(t *testing.T) {
	t.Parallel()
	raw := pgserver.Database(t)
	wire := fault.NewProxy(t, raw, fault.Options{})
	pool := newPool(t, raw, dialProxy(wire), func(cfg *pgxpool.Config) {
		dial := cfg.ConnConfig.DialFunc
		cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			return tunnel{conn}, err
		}
	})
	probe, _ := newProbe(t, pool, pghealth.Options{Timeout: 500 * time.Millisecond})
	wantEventually(t, pool, probe.Ready(), http.StatusOK)
	wire.Freeze(fault.Both)
	wantEventually(t, pool, probe.Ready(), http.StatusServiceUnavailable)
	wire.Heal()
	wantEventually(t, pool, probe.Ready(), http.StatusOK)
}

// slowLogin makes the server answer late until the session has begun.
func slowLogin(proxy *fault.Proxy, delay time.Duration) func(*pgxpool.Config) {
	proxy.Delay(fault.FromServer, delay)
	return func(cfg *pgxpool.Config) {
		cfg.AfterConnect = func(context.Context, *pgx.Conn) error {
			proxy.Delay(fault.FromServer, 0)
			return nil
		}
	}
}

// A pool's DialFunc may put a deadline on sockets that it takes for cancel requests, as pgpool's
// does. The probe's connection outlives it, even if the login takes longer.
func TestDeadlineOfTheDialer(t *testing.T) {
	t.Parallel()
	const limit = 300 * time.Millisecond
	url := pgserver.Database(t)
	slow := fault.NewProxy(t, url, fault.Options{})
	pool := newPool(t, url, dialProxy(slow), slowLogin(slow, 2*limit), func(cfg *pgxpool.Config) {
		dial := cfg.ConnConfig.DialFunc
		cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return conn, conn.SetDeadline(time.Now().Add(limit))
		}
	})
	probe, log := newProbe(t, pool, pghealth.Options{})
	for range 3 {
		wantCode(t, get(t, pool, probe.Ready()), http.StatusOK)
		time.Sleep(limit)
	}
	if n := slow.Stats().Connections; n != 1 || log.String() != "" {
		t.Errorf("%d connections; log: %s", n, log)
	}
}

// A server that takes 2.5 s to log in becomes ready with the default timeout.
func TestSlowLoginBecomesReady(t *testing.T) {
	t.Parallel()
	const login = 2500 * time.Millisecond
	url := pgserver.Database(t)
	slow := fault.NewProxy(t, url, fault.Options{})
	pool := newPool(t, url, dialProxy(slow), slowLogin(slow, login))
	probe, _ := newProbe(t, pool, pghealth.Options{Timeout: pghealth.DefaultTimeout, MaxAge: pghealth.DefaultMaxAge})
	began := time.Now()
	wantCode(t, get(t, pool, probe.Ready()), http.StatusServiceUnavailable)
	wantEventually(t, pool, probe.Ready(), http.StatusOK)
	if took, n := time.Since(began), slow.Stats().Connections; took < login || n != 1 {
		t.Errorf("ready after %v and %d connections", took, n)
	}
}

// An answer without a recent result costs the server one question in one round trip.
func TestOneRoundTrip(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	wire := fault.NewProxy(t, url, fault.Options{})
	asked := make(chan string, 100)
	wire.OnRequest(func(r fault.Request) fault.Cut {
		asked <- r.SQL
		return fault.Pass
	})
	pool := newPool(t, url, dialProxy(wire))
	probe, _ := newProbe(t, pool, pghealth.Options{})
	own := handler(probe, checker(t, probe, well))
	wantCode(t, get(t, pool, probe.Ready()), http.StatusOK) // connects
	before := wire.Stats()
	connecting := len(asked)
	for range 5 {
		wantCode(t, get(t, pool, probe.Ready()), http.StatusOK)
		wantCode(t, get(t, pool, own), http.StatusOK)
	}
	after := wire.Stats()
	if trips := after.Flushes - before.Flushes; trips != 10 || len(asked)-connecting != 10 || after.Connections != 1 {
		t.Errorf("%d round trips with %d requests on %d connections for 10 answers", trips, len(asked)-connecting,
			after.Connections)
	}
}

// The checks of one answer share one question about the connection, even if the answer comes before
// the last check has begun.
func TestOneQuestionForAllChecks(t *testing.T) {
	t.Parallel()
	var questions atomic.Int32
	server := scripted(t, func(sql string) []string {
		if strings.Contains(sql, "transaction_read_only") {
			questions.Add(1)
		}
		return []string{"off"}
	})
	pool := newPool(t, scriptedURL, dialPort(server))
	probe, _ := newProbe(t, pool, pghealth.Options{Schema: pghealth.SchemaFunc(
		func(context.Context, *pgx.Conn) (int64, int64, bool, error) { return 1, 1, false, nil },
	)})
	const answers = 500
	for range answers {
		wantCode(t, get(t, pool, probe.Ready()), http.StatusOK)
	}
	if n := questions.Load(); n != answers {
		t.Errorf("%d questions for %d answers", n, answers)
	}
}

// AfterConnect and BeforeClose may count a pool's connections. The count must not keep the probe's.
func TestBeforeCloseIsCalled(t *testing.T) {
	t.Parallel()
	var open atomic.Int32
	pool := newPool(t, pgserver.Database(t), func(cfg *pgxpool.Config) {
		cfg.AfterConnect = func(context.Context, *pgx.Conn) error { open.Add(1); return nil }
		cfg.BeforeClose = func(*pgx.Conn) { open.Add(-1) }
		cfg.MaxConnLifetime = time.Nanosecond
	})
	probe, _ := newProbe(t, pool, pghealth.Options{})
	for range 3 {
		wantCode(t, get(t, pool, probe.Ready()), http.StatusOK)
	}
	if n := open.Load(); n != 1 {
		t.Errorf("%d connections are counted as open", n)
	}
	probe.Close()
	if n := open.Load(); n != 0 {
		t.Errorf("%d connections are counted as open after Close", n)
	}
}

// A query of the probe that waits for a lock ends on the server too. Otherwise each probe would
// leave a session behind.
func TestLockedSchemaLeavesNoSessions(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	pool := newPool(t, url, func(cfg *pgxpool.Config) {
		cfg.ConnConfig.RuntimeParams["client_connection_check_interval"] = "0" // PostgreSQL's default
	})
	blocker := connect(t, url)
	execute(t, blocker, "create table schema_version as select 1 as version, false as dirty")
	execute(t, blocker, "begin")
	execute(t, blocker, "lock table schema_version")
	probe, _ := newProbe(t, pool, pghealth.Options{Schema: versionTable(1), Timeout: faultTimeout})
	both := serveBoth(t, pool, probe)
	for range 2 {
		both.want(want{
			http.StatusServiceUnavailable, "schema", "fail", "timeout",
			"the database does not answer in time",
		})
		// The other half of the time is for the other check.
		both.want(want{http.StatusServiceUnavailable, "connectivity", "pass", "", ""})
	}
	if n := sessions(t, pool); n > 1 {
		t.Errorf("%d sessions of one probe", n)
	}
	execute(t, blocker, "rollback")
	both.want(want{http.StatusOK, "schema", "pass", "", ""})
}
