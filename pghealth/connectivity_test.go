package pghealth_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

func TestConnectivityMeasuresTheRoundTrip(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	probe, log := newProbe(t, pool, pghealth.Options{})
	before := time.Now().Add(-time.Millisecond)
	first := get(t, pool, probe.Ready())
	wantCode(t, first, http.StatusOK)
	c := first.check(t, "db:connectivity")
	if first.Status != "pass" || c.Status != "pass" || c.ComponentType != "datastore" || c.Category != "" {
		t.Error(first.body)
	}
	if c.ObservedUnit != "ms" || c.ObservedValue == nil || *c.ObservedValue <= 0 ||
		*c.ObservedValue > float64(first.took.Milliseconds()+1) {
		t.Errorf("latency in an answer that took %v: %s", first.took, first.body)
	}
	if c.Time.Before(before) || c.Time.After(time.Now()) {
		t.Errorf("time %v", c.Time)
	}

	second := get(t, pool, probe.Ready()).check(t, "db:connectivity")
	if !second.Since.Equal(c.Since) {
		t.Errorf("since moved from %v to %v though nothing changed", c.Since, second.Since)
	}
	if n := pool.Stat().NewConnsCount(); n != 0 {
		t.Errorf("the pool opened %d connections for a probe", n)
	}
	if log.String() != "" {
		t.Errorf("a database that is well from the start is no news: %s", log)
	}
}

// offline is a resolver without a server, so that the tests need no network.
var offline = net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:1")
}}

// Each fault is real and passes through driver, probe and HTTP.
func TestConnectivityFaults(t *testing.T) {
	t.Parallel()
	passwordURL := fault.NewServer(t, fault.ServerOptions{TCP: true}).URL()
	tests := map[string]struct {
		url      string
		adapt    func(*testing.T, *pgxpool.Config)
		category string
	}{
		"refused port": {
			adapt: func(t *testing.T, cfg *pgxpool.Config) {
				l, port := listen(t)
				l.Close()
				dialPort(port)(cfg)
			},
			category: "refused",
		},
		"no socket": {
			adapt:    func(t *testing.T, cfg *pgxpool.Config) { cfg.ConnConfig.Host = t.TempDir() },
			category: "refused",
		},
		"unknown host": {
			adapt: func(t *testing.T, cfg *pgxpool.Config) {
				dialPort(5432)(cfg)
				cfg.ConnConfig.Host = "database.invalid" // RFC 6761: never resolves
				cfg.ConnConfig.LookupFunc = offline.LookupHost
			},
			category: "dns",
		},
		"unknown database": {
			adapt:    func(t *testing.T, cfg *pgxpool.Config) { cfg.ConnConfig.Database = "no_such_database" },
			category: "config",
		},
		"wrong password": {
			url:      passwordURL,
			adapt:    func(t *testing.T, cfg *pgxpool.Config) { cfg.ConnConfig.Password = "wrong-" + password },
			category: "auth",
		},
		"no TLS on the server": {
			url: passwordURL,
			adapt: func(_ *testing.T, cfg *pgxpool.Config) {
				cfg.ConnConfig.TLSConfig = &tls.Config{ServerName: "localhost"}
			},
			category: "tls",
		},
		"the server starts up": {
			adapt: func(t *testing.T, cfg *pgxpool.Config) {
				l, port := listen(t)
				go serve(l, func(c net.Conn) {
					defer c.Close()
					backend := pgproto3.NewBackend(c, c)
					if _, err := backend.ReceiveStartupMessage(); err != nil {
						return
					}
					backend.Send(&pgproto3.ErrorResponse{
						Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "57P03",
						Message: "the database system is starting up",
					})
					_ = backend.Flush()
				})
				dialPort(port)(cfg)
			},
			category: "starting_up",
		},
		"no PostgreSQL behind the port": {
			adapt: func(t *testing.T, cfg *pgxpool.Config) {
				l, port := listen(t)
				go serve(l, func(c net.Conn) { c.Close() })
				dialPort(port)(cfg)
			},
			category: "connection",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.url == "" {
				test.url = pgserver.Database(t)
			}
			pool := newPool(t, test.url, func(cfg *pgxpool.Config) { test.adapt(t, cfg) })
			probe, log := newProbe(t, pool, pghealth.Options{AllowReadOnly: true})
			both := serveBoth(t, pool, probe)
			both.want(want{
				http.StatusServiceUnavailable, "connectivity", "fail", test.category,
				"the database cannot be used",
			})
			// Checks that cannot observe anything say so, and are not a second fault.
			both.want(want{
				http.StatusServiceUnavailable, "replicaLag", "warn", test.category,
				"not observed: the database cannot be reached",
			})
			// The log has the cause, once.
			if lines := log.lines(); len(lines) != 1 || !strings.Contains(lines[0], `"cause":"`) ||
				!strings.Contains(lines[0], `"level":"ERROR"`) {
				t.Errorf("log: %s", log)
			}
		})
	}
}

// A dead connection says nothing about the database: the next probe passes.
func TestTerminatedBackend(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	probe, log := newProbe(t, pool, pghealth.Options{})
	wantCode(t, get(t, pool, probe.Ready()), http.StatusOK)
	for range 3 {
		var killed int
		err := pool.QueryRow(t.Context(), `select count(*) filter (where pg_terminate_backend(pid, 5000))
			from pg_stat_activity
			where datname = current_database() and application_name like '%pghealth'`).Scan(&killed)
		if err != nil || killed != 1 {
			t.Fatalf("killed %d of the probe's connections: %v", killed, err)
		}
		wantCode(t, get(t, pool, probe.Ready()), http.StatusOK)
	}
	if log.String() != "" {
		t.Errorf("log: %s", log)
	}
}

func TestServerStopsAndComesBack(t *testing.T) {
	t.Parallel()
	server := fault.NewServer(t, fault.ServerOptions{TCP: true})
	pool := newPool(t, server.URL())
	probe, log := newProbe(t, pool, pghealth.Options{})
	well := get(t, pool, probe.Ready())
	wantCode(t, well, http.StatusOK)

	server.Stop(t)
	down := get(t, pool, probe.Ready())
	wantCode(t, down, http.StatusServiceUnavailable)
	if c := down.check(t, "db:connectivity"); c.Category != "refused" ||
		!c.Since.After(well.check(t, "db:connectivity").Since) {
		t.Error(down.body)
	}
	server.Start(t)
	wantCode(t, get(t, pool, probe.Ready()), http.StatusOK)
	if lines := log.lines(); len(lines) != 2 || !strings.Contains(lines[1], `"status":"pass"`) ||
		!strings.Contains(lines[1], `"before":"fail"`) {
		t.Errorf("log: %s", log)
	}
}

func TestReadOnlySession(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	var database string
	if err := pool.QueryRow(t.Context(), "select current_database()").Scan(&database); err != nil {
		t.Fatal(err)
	}
	set := func(to string) {
		t.Helper()
		if _, err := pool.Exec(t.Context(),
			"alter database "+pgx.Identifier{database}.Sanitize()+" set default_transaction_read_only = "+to,
		); err != nil {
			t.Fatal(err)
		}
	}
	set("on")
	probe, log := newProbe(t, pool, pghealth.Options{})
	r := get(t, pool, probe.Ready())
	wantCode(t, r, http.StatusServiceUnavailable)
	c := r.check(t, "db:connectivity")
	if c.Category != "read_only" || c.Output != "the session cannot write" || c.ObservedValue == nil {
		t.Error(r.body)
	}
	if !strings.Contains(log.String(), "default_transaction_read_only") {
		t.Errorf("the log does not say where to look: %s", log)
	}

	// The database answers, so the other checks run.
	both, _ := newProbe(t, pool, pghealth.Options{MaxReplicaLag: time.Minute, Schema: pghealth.SchemaFunc(
		func(context.Context, *pgx.Conn) (int64, int64, bool, error) { return 1, 1, false, nil },
	)})
	r = get(t, pool, both.Ready())
	wantCode(t, r, http.StatusServiceUnavailable)
	for _, name := range []string{"db:schema", "db:replicaLag"} {
		if c := r.check(t, name); c.Status != "pass" {
			t.Error(r.body)
		}
	}

	fine, _ := newProbe(t, pool, pghealth.Options{AllowReadOnly: true})
	wantCode(t, get(t, pool, fine.Ready()), http.StatusOK)

	// The setting counts for new sessions only: a probe that kept its old one would be down for
	// ever.
	set("off")
	wantCode(t, get(t, pool, probe.Ready()), http.StatusOK)
}

// An attempt to connect ends, however many addresses there are and however they are looked up.
func TestConnectingEnds(t *testing.T) {
	t.Parallel()
	limit := make(chan time.Duration, 1)
	pool := newPool(t, pgserver.Database(t), func(cfg *pgxpool.Config) {
		cfg.ConnConfig.Host = "db.example"
		cfg.ConnConfig.LookupFunc = func(ctx context.Context, _ string) ([]string, error) {
			deadline, _ := ctx.Deadline()
			limit <- time.Until(deadline)
			return nil, errors.New("no such name")
		}
	})
	probe, _ := newProbe(t, pool, pghealth.Options{Timeout: time.Second})
	wantCode(t, get(t, pool, probe.Ready()), http.StatusServiceUnavailable)
	if d := <-limit; d < 30*time.Second || d > 90*time.Second {
		t.Errorf("an attempt may take %v", d)
	}
}

// A server without a free slot is busy as long as the service itself has its connections.
func TestNoConnectionSlot(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	admin := newPool(t, url)
	role := "limited_" + strings.ToLower(rand.Text())
	_, err := admin.Exec(t.Context(), "create role "+role+" login connection limit 1 password '"+password+"'")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.Exec(context.WithoutCancel(t.Context()), "drop role "+role); err != nil {
			t.Error(err)
		}
	})
	pool := newPool(t, url, func(cfg *pgxpool.Config) { cfg.ConnConfig.User, cfg.ConnConfig.Password = role, password })
	probe, _ := newProbe(t, pool, pghealth.Options{})
	if err := pool.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := get(t, pool, probe.Ready())
	wantCode(t, r, http.StatusOK)
	if c := r.check(t, "db:connectivity"); r.Status != "warn" || c.Status != "warn" ||
		c.Category != "too_many_connections" {
		t.Error(r.body)
	}
	for name, opts := range map[string]pghealth.Options{
		"replicaLag": {AllowReadOnly: true, MaxReplicaLag: time.Minute}, "schema": {Schema: versionTable(1)},
	} {
		probe, _ := newProbe(t, pool, opts)
		r := get(t, pool, probe.Ready())
		if c := r.check(t, "db:"+name); r.code != http.StatusOK || c.Status != "warn" ||
			c.Category != "too_many_connections" {
			t.Errorf("%d %s", r.code, r.body)
		}
	}

	// The same server for an instance that has nothing: it cannot serve.
	other := newPool(t, url, func(cfg *pgxpool.Config) {
		cfg.ConnConfig.User, cfg.ConnConfig.Password = role,
			password
	})
	unable, _ := newProbe(t, other, pghealth.Options{})
	r = get(t, other, unable.Ready())
	wantCode(t, r, http.StatusServiceUnavailable)
	if c := r.check(t, "db:connectivity"); c.Category != "too_many_connections" {
		t.Error(r.body)
	}
}

// All checks of a probe run at the same time: a wrong password is tried once, and not again while
// the result is recent.
func TestChecksShareAFailedAttempt(t *testing.T) {
	t.Parallel()
	url := fault.NewServer(t, fault.ServerOptions{TCP: true}).URL()
	for name, test := range map[string]struct {
		maxAge       time.Duration
		least, limit int
	}{
		"recent": {time.Hour, 1, 1},
		"always": {-1, 5, 10},
	} {
		dials := make(chan struct{}, 100)
		pool := newPool(t, url, func(cfg *pgxpool.Config) { cfg.ConnConfig.Password = "wrong-" + password },
			dialed(dials))
		probe, _ := newProbe(t, pool, pghealth.Options{
			MaxAge: test.maxAge, AllowReadOnly: true,
			Schema: versionTable(1),
		})
		for range 5 {
			wantCode(t, get(t, pool, probe.Ready()), http.StatusServiceUnavailable)
		}
		if n := len(dials); n < test.least || n > test.limit {
			t.Errorf("%s: %d attempts for 5 probes of 3 checks", name, n)
		}
	}
}
