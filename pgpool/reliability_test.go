package pgpool_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool"
)

// slack is what a busy machine may add to a limit.
const slack = 5 * time.Second

func Test200WorkersOn4Connections(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 4
	const most = 100 * time.Millisecond
	pool := connect(t, config, pgpool.WithAcquireTimeout(most))
	var answered, exhausted atomic.Int64
	var group sync.WaitGroup
	for range 200 {
		group.Add(1)
		go func() {
			defer group.Done()
			for range 5 {
				began := time.Now()
				_, err := pool.Exec(t.Context(), `select pg_sleep(0.01)`)
				took := time.Since(began)
				switch {
				case err == nil:
					answered.Add(1)
				case errors.Is(err, pgpool.ErrExhausted) && errors.Is(err, context.DeadlineExceeded) && pgerr.Of(err) == pgerr.Saturated:
					exhausted.Add(1)
				default:
					t.Errorf("error is %v, want ErrExhausted", err)
				}
				if took > most+slack {
					t.Errorf("took %s, want about %s", took, most)
				}
			}
		}()
	}
	group.Wait()
	t.Logf("%d answered, %d exhausted", answered.Load(), exhausted.Load())
	if answered.Load() == 0 || exhausted.Load() == 0 {
		t.Errorf("%d answered, %d exhausted; want some of both", answered.Load(), exhausted.Load())
	}
	nothingIsLeft(t, pool)
}

// nothingIsLeft checks that all connections came back and the pool works.
func nothingIsLeft(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	eventually(t, func() bool { return pool.Stat().AcquiredConns() == 0 && pool.Stat().ConstructingConns() == 0 })
	if holders := pgpool.Holders(pool); len(holders) != 0 {
		t.Errorf("holders are left: %v", holders)
	}
	for range 20 {
		if err := pool.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// load runs queries on a pool and keeps what went wrong by category.
type load struct {
	answers atomic.Int64
	mu      sync.Mutex
	failed  map[pgerr.Category]int
	longest time.Duration
	stop    context.CancelFunc
	group   sync.WaitGroup
}

func start(t *testing.T, pool *pgxpool.Pool, workers int, sql string) *load {
	l := &load{failed: map[pgerr.Category]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	l.stop = cancel
	for range workers {
		l.group.Add(1)
		go func() {
			defer l.group.Done()
			for ctx.Err() == nil {
				began := time.Now()
				_, err := pool.Exec(t.Context(), sql)
				took := time.Since(began)
				l.mu.Lock()
				l.longest = max(l.longest, took)
				if err != nil {
					category := pgerr.Of(err)
					l.failed[category]++
					if category == pgerr.Unknown {
						t.Errorf("an error without a category: %#v: %v", err, err)
					}
				}
				l.mu.Unlock()
				if err == nil {
					l.answers.Add(1)
				} else {
					time.Sleep(time.Millisecond) // a caller that fails does something else first
				}
			}
		}()
	}
	t.Cleanup(func() { cancel(); l.group.Wait() })
	return l
}

// answersAgain waits until some more queries have succeeded.
func (l *load) answersAgain(t *testing.T) {
	t.Helper()
	before := l.answers.Load()
	eventually(t, func() bool { return l.answers.Load() > before+100 })
}

func (l *load) failures() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, count := range l.failed {
		n += count
	}
	return n
}

// end stops the load and checks that no call took longer than it may.
func (l *load) end(t *testing.T, most time.Duration) {
	t.Helper()
	l.stop()
	l.group.Wait()
	t.Logf("%d answers, failures %v, longest %s", l.answers.Load(), l.failed, l.longest.Round(time.Millisecond))
	if l.longest > most+slack {
		t.Errorf("one call took %s, want at most about %s", l.longest, most)
	}
}

func TestServerStopsAndKilledUnderLoad(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	config := parse(t, server.url)
	config.MaxConns = 8
	pool := connect(t, config, pgpool.WithAcquireTimeout(time.Second))
	l := start(t, pool, 16, `select 1`)
	l.answersAgain(t)

	server.stop(t)
	before := l.failures()
	eventually(t, func() bool { return l.failures() > before })
	server.start(t)
	l.answersAgain(t)

	server.kill(t)
	before = l.failures()
	eventually(t, func() bool { return l.failures() > before })
	server.start(t)
	l.answersAgain(t)

	l.end(t, time.Second)
	nothingIsLeft(t, pool)
}

// After a restart the connections that are idle are stale, all of them; one caller at most gets to know.
func TestStaleConnectionSurfacesAtMostOnce(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	config := parse(t, server.url)
	config.MaxConns, config.MinIdleConns = 8, 8
	// pgxpool looks at what was idle for a second by itself: that would hide ours on a slow machine.
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	pool := connect(t, config)
	server.stop(t)
	server.start(t)
	if stat := pool.Stat(); stat.IdleConns() < 8 {
		t.Fatalf("%d idle connections, want 8", stat.IdleConns())
	}
	failed := 0
	for range 50 {
		if _, err := pool.Exec(t.Context(), `select 1`); err != nil {
			failed++
			if category := pgerr.Of(err); category != pgerr.Shutdown && category != pgerr.Connection {
				t.Errorf("error is %v of category %s", err, category)
			}
		}
	}
	if failed > 1 {
		t.Errorf("%d queries failed, want at most 1", failed)
	}
}

// A black hole accepts, or has accepted, and never answers.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 4
	config.ConnConfig.ConnectTimeout = 300 * time.Millisecond
	config.PingTimeout = 200 * time.Millisecond
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return true } // as if idle for a second
	p := through(t, config)
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	const most = 500 * time.Millisecond
	pool := connect(t, config, pgpool.WithAcquireTimeout(most))
	var held []*pgxpool.Conn
	for range 3 {
		held = append(held, acquire(t, pool))
	}
	held[1].Release()
	held[2].Release()

	thaw := p.freeze()
	defer thaw()
	for range 4 {
		began := time.Now()
		_, err := pool.Exec(t.Context(), `select 1`)
		if took := time.Since(began); took > most+slack {
			t.Errorf("took %s, want about %s", took, most)
		}
		if category := pgerr.Of(err); category != pgerr.Timeout && category != pgerr.Connection {
			t.Errorf("error is %v of category %s, want timeout", err, category)
		}
	}
	// A query under way ends with its own context.
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := held[0].Exec(ctx, `select 1`)
	if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > slack {
		t.Errorf("error is %v after %s, want the deadline's", err, took)
	}
	held[0].Release()
	// No connection keeps its place for the 15 s that pgx waits for a server to say goodbye.
	began = time.Now()
	eventually(t, func() bool { return pool.Stat().TotalConns() == 0 })
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("closing took %s, want about 2s", took)
	}

	thaw()
	eventually(t, func() bool { return pool.Ping(t.Context()) == nil })
	nothingIsLeft(t, pool)
}

func TestConnectBlackHoleWithinBudget(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.ConnConfig.ConnectTimeout = 50 * time.Millisecond
	p := through(t, config)
	p.black.Store(true)
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	_, err := pgpool.ConnectConfig(t.Context(), config, pgpool.WithLogger(nil), pgpool.WithStartupTimeout(400*time.Millisecond))
	var failed *pgpool.StartupError
	if !errors.As(err, &failed) || failed.Attempts < 2 || pgerr.Of(err) != pgerr.Timeout || failed.Elapsed > slack {
		t.Errorf("error is %v, want several attempts of category timeout", err)
	}
}

func TestCertificate(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		until time.Time
		ok    bool
	}{
		"valid":   {time.Now().Add(time.Hour), true},
		"expired": {time.Now().Add(-time.Hour), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := database(t)
			p := through(t, config)
			certificate, authority := certificate(t, tt.until)
			p.tls = &tls.Config{Certificates: []tls.Certificate{certificate}}
			if err := p.start(); err != nil {
				t.Fatal(err)
			}
			config.ConnConfig.Host = "127.0.0.1" // a socket has no TLS
			config.ConnConfig.TLSConfig = &tls.Config{RootCAs: authority, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
			pool, err := pgpool.ConnectConfig(t.Context(), config, pgpool.WithLogger(nil))
			if tt.ok {
				if err != nil {
					t.Fatal(err)
				}
				defer pool.Close()
				nothingIsLeft(t, pool)
				return
			}
			var failed *pgpool.StartupError
			if !errors.As(err, &failed) || failed.Attempts != 1 || pgerr.Of(err) != pgerr.TLS {
				t.Errorf("error is %v, want tls after one attempt", err)
			}
		})
	}
}

// certificate makes one for loopback that is its own authority.
func certificate(t *testing.T, until time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.ParseIP("127.0.0.1")},
		NotBefore: until.Add(-24 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	authority := x509.NewCertPool()
	authority.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, authority
}

func TestNameThatDoesNotResolve(t *testing.T) {
	t.Parallel()
	config := parse(t, "postgres://app@pgpool.invalid/app?sslmode=disable")
	_, err := pgpool.ConnectConfig(t.Context(), config, pgpool.WithLogger(nil), pgpool.WithStartupTimeout(300*time.Millisecond))
	var failed *pgpool.StartupError
	if !errors.As(err, &failed) || pgerr.Of(err) != pgerr.DNS || !errors.Is(failed.Ended, context.DeadlineExceeded) {
		t.Errorf("error is %v, want dns, tried until the budget ended", err)
	}
}

// The primary stops, its standby is promoted, and the pool writes there.
func TestPromotedStandby(t *testing.T) {
	t.Parallel()
	primary := startServer(t)
	standby, promote := primary.standby(t)
	config := parse(t, multiHost("read-write", primary.dir, standby))
	config.MaxConns = 4
	pool := connect(t, config, pgpool.WithAcquireTimeout(2*time.Second))
	if _, err := pool.Exec(t.Context(), `create table if not exists notes (id int)`); err != nil {
		t.Fatal(err)
	}
	l := start(t, pool, 4, `insert into notes values (1)`)
	l.answersAgain(t)
	primary.stop(t)
	before := l.failures()
	eventually(t, func() bool { return l.failures() > before })
	promote()
	l.answersAgain(t)
	l.end(t, 2*time.Second)
	nothingIsLeft(t, pool)
}

// The primary becomes read-only without breaking a connection, and a pool that only reads would stay there for ever.
func TestRoleIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	primary := startServer(t)
	standby, promote := primary.standby(t)
	promote()
	config := parse(t, multiHost("read-write", primary.dir, standby))
	config.MaxConns = 2
	var log logs
	pool := connect(t, config, pgpool.WithLogger(log.logger()))
	pid := pidOf(t, pool)
	demote := connect(t, parse(t, primary.url))
	for _, sql := range []string{`alter system set default_transaction_read_only = on`, `select pg_reload_conf()`} {
		if _, err := demote.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() bool {
		if err := pool.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		return len(log.lines("the server changed its role")) == 1
	})
	var readOnly string
	if err := pool.QueryRow(t.Context(), `show transaction_read_only`).Scan(&readOnly); err != nil || readOnly != "off" {
		t.Errorf("transaction_read_only is %s, %v; want off", readOnly, err)
	}
	if after := pidOf(t, pool); after == pid {
		t.Error("the connection was kept")
	}
}

// Under load connections are used again, though all of them reach the end of their life meanwhile.
func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 10
	config.MaxConnLifetime, config.MaxConnLifetimeJitter = time.Second, time.Nanosecond // 0 would be a tenth
	pool := connect(t, config)
	l := start(t, pool, 64, `select 1`)
	eventually(t, func() bool { return pool.Stat().NewConnsCount() >= 20 }) // all were replaced
	l.end(t, pgpool.DefaultAcquireTimeout)
	opened, acquired := pool.Stat().NewConnsCount(), pool.Stat().AcquireCount()
	reused := 1 - float64(opened)/float64(acquired)
	t.Logf("%.3f of %d acquires, %d opened", reused, acquired, opened)
	if reused < 0.95 || l.failures() != 0 {
		t.Errorf("%.3f of %d acquires got a connection that was there, %d failed; want 0.95 and none", reused, acquired, l.failures())
	}
	nothingIsLeft(t, pool)
}

func Test1000CancelledQueries(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 4
	config.ConnConfig.RuntimeParams["application_name"] = t.Name()
	pool := connect(t, config, pgpool.WithServerLimits(pgpool.ServerLimits{})) // it is the cancelling that ends them
	var group sync.WaitGroup
	for range 4 {
		group.Add(1)
		go func() {
			defer group.Done()
			for range 250 {
				conn, err := pool.Acquire(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				_, err = conn.Exec(ctx, `select pg_sleep(60)`)
				cancel()
				conn.Release()
				if !errors.Is(err, context.DeadlineExceeded) || pgerr.Of(err) != pgerr.Timeout {
					t.Errorf("error is %v of category %s, want the deadline's", err, pgerr.Of(err))
				}
			}
		}()
	}
	group.Wait()
	nothingIsLeft(t, pool)
	eventually(t, func() bool {
		var open int
		if err := pool.QueryRow(t.Context(), `select count(*) from pg_stat_activity where application_name = $1`, t.Name()).Scan(&open); err != nil {
			t.Error(err)
		}
		return open <= 4
	})
}
