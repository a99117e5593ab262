package fault_test

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// kinds are the ways to listen.
var kinds = map[string]fault.Options{"TCP": {}, "Unix socket": {Unix: true}, "raw": {Raw: true}}

func TestRefuse(t *testing.T) {
	t.Parallel()
	for name, opts := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, p := through(t, opts)
			conn := connect(t, p.URL())
			p.Refuse()
			if err := conn.Ping(t.Context()); err == nil {
				t.Error("the open connection works")
			}
			for range 3 {
				if _, err := tryConnect(t.Context(), p.URL()); !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("error is %v, want connection refused", err)
				}
			}
			p.Heal()
			p.Heal() // does no harm
			execute(t, connect(t, p.URL()), "select 1")
		})
	}
}

// While a proxy refuses, its port is nobody else's.
func TestRefuseKeepsThePort(t *testing.T) {
	t.Parallel()
	_, p := through(t, fault.Options{})
	p.Refuse()
	for range 200 {
		if other := fault.NewProxy(t, "postgres://app@127.0.0.1:1/app", fault.Options{}); other.Addr() == p.Addr() {
			t.Fatal("another proxy has the port")
		}
	}
	p.Heal()
	execute(t, connect(t, p.URL()), "select 1")
}

func TestSever(t *testing.T) {
	t.Parallel()
	for name, opts := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, p := through(t, opts)
			conn := connect(t, p.URL())
			p.Sever()
			if err := conn.Ping(t.Context()); err == nil {
				t.Error("the open connection works")
			}
			execute(t, connect(t, p.URL()), "select 1")
		})
	}
}

// A connection that another fault holds up can be ended.
func TestSeverWhatIsHeldUp(t *testing.T) {
	t.Parallel()
	for name, hold := range map[string]func(*fault.Proxy){
		"frozen":       func(p *fault.Proxy) { p.Freeze(fault.Both) },
		"delayed":      func(p *fault.Proxy) { p.Delay(fault.FromServer, time.Hour) },
		"slow":         func(p *fault.Proxy) { p.Rate(fault.ToServer, 1) },
		"held request": func(p *fault.Proxy) { p.OnRequest(always(fault.HoldRequest)) },
		"held answer":  func(p *fault.Proxy) { p.OnRequest(always(fault.HoldAnswer)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, p := through(t, fault.Options{})
			conn := connect(t, p.URL())
			hold(p)
			answered := make(chan error, 1)
			go func() { answered <- conn.Ping(context.Background()) }()
			silent(t, answered)
			p.Sever()
			if err := soon(t, answered); err == nil {
				t.Error("answered")
			}
			p.Heal()
			execute(t, connect(t, p.URL()), "select 1")
		})
	}
}

func always(where fault.Cut) func(fault.Request) fault.Cut {
	return func(fault.Request) fault.Cut { return where }
}

func TestFreeze(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		direction fault.Direction
		raw       bool
		arrives   bool // at the server
	}{
		"both":            {fault.Both, false, false},
		"to the server":   {fault.ToServer, false, false},
		"from the server": {fault.FromServer, false, true},
		"raw":             {fault.FromServer, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct, p := through(t, fault.Options{Raw: tt.raw})
			conn, other := connect(t, p.URL()), connect(t, direct)
			p.Freeze(tt.direction)
			answered := make(chan error, 1)
			go func() {
				_, err := conn.Exec(context.Background(), "insert into notes values (1)")
				answered <- err
			}()
			if tt.arrives {
				eventually(t, other, "select count(*) = 1 from notes")
			}
			connected := make(chan error, 1)
			go func() {
				conn, err := tryConnect(context.Background(), p.URL())
				if err == nil {
					err = conn.Close(context.Background())
				}
				connected <- err
			}()
			silent(t, answered)
			silent(t, connected)
			if n := scan[int](t, other, "select count(*) from notes"); n == 1 != tt.arrives {
				t.Errorf("%d rows", n)
			}
			p.Heal()
			if err := errors.Join(soon(t, answered), soon(t, connected)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	const delay = 200 * time.Millisecond
	for name, tt := range map[string]struct {
		direction fault.Direction
		least     time.Duration
	}{
		"to the server":   {fault.ToServer, delay},
		"from the server": {fault.FromServer, delay},
		"both":            {fault.Both, 2 * delay},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, p := through(t, fault.Options{})
			conn := connect(t, p.URL())
			p.Delay(tt.direction, delay)
			// Of many pieces the last one is as late as the first: 4 MB would take 13 s one by one.
			for _, sql := range []string{"select 1", "select repeat('x', 100000) from generate_series(1, 40)"} {
				if took := timed(t, conn, sql); took < tt.least || took > 10*time.Second {
					t.Errorf("%s took %s, want %s", sql, took, tt.least)
				}
			}
			p.Delay(tt.direction, 0)
			once(t, "a round trip without a delay", func() bool { return timed(t, conn, "select 1") < delay })
		})
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	const half = "select repeat('x', 50000)" // of what passes in a second
	long := "select length('" + strings.Repeat("x", 50000) + "')"
	for name, tt := range map[string]struct {
		direction  fault.Direction
		slow, fast string
	}{"to the server": {fault.ToServer, long, half}, "from the server": {fault.FromServer, half, long}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, p := through(t, fault.Options{})
			conn := connect(t, p.URL())
			p.Rate(tt.direction, 100_000)
			if took := timed(t, conn, tt.slow); took < 450*time.Millisecond || took > patience {
				t.Errorf("the slow direction took %s, want half a second", took)
			}
			const fast = 400 * time.Millisecond
			once(t, "the other direction to be fast", func() bool { return timed(t, conn, tt.fast) < fast })
			p.Heal()
			once(t, "a healed direction to be fast", func() bool { return timed(t, conn, tt.slow) < fast })
		})
	}
}

// timed returns how long a statement takes.
func timed(t *testing.T, conn *pgx.Conn, sql string) time.Duration {
	t.Helper()
	began := time.Now()
	execute(t, conn, sql)
	return time.Since(began)
}

// once wants something to succeed once in ten times: a busy machine may be slow in the others.
func once(t *testing.T, what string, try func() bool) {
	t.Helper()
	for range 10 {
		if try() {
			return
		}
	}
	t.Errorf("never saw %s", what)
}

func TestRedirect(t *testing.T) {
	t.Parallel()
	_, p := through(t, fault.Options{})
	_, second := through(t, fault.Options{Unix: true})
	before := connect(t, p.URL())
	p.Redirect(second.URL())
	connect(t, p.URL())
	execute(t, before, "select 1")
	if n := second.Stats().Connections; n != 1 {
		t.Errorf("%d connections to the second server, want 1", n)
	}
}

// The proxy answers for itself what is asked before the start of a session.
func TestTLS(t *testing.T) {
	t.Parallel()
	certificate := fault.NewCertificate(t, time.Now().Add(time.Hour))
	secured, verified := fault.Options{TLS: certificate.Server()}, "verify-full&sslrootcert="+certificate.File
	for name, tt := range map[string]struct {
		opts    fault.Options
		mode    string
		wantTLS bool
		wantErr string
	}{
		"not offered, not wanted":     {mode: "disable"},
		"not offered, preferred":      {mode: "prefer"},
		"not offered, required":       {mode: "require", wantErr: "server refused TLS connection"},
		"offered, not wanted":         {opts: secured, mode: "disable"},
		"offered, required":           {opts: secured, mode: "require", wantTLS: true},
		"offered, verified":           {opts: secured, mode: verified, wantTLS: true},
		"offered, not the right root": {opts: secured, mode: "verify-full", wantErr: "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, p := through(t, tt.opts)
			base, _, _ := strings.Cut(p.URL(), "sslmode=")
			conn, err := tryConnect(t.Context(), base+"sslmode="+tt.mode)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("error is %v, want %s", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(t.Context())
			execute(t, conn, "select 1")
			if _, ok := conn.PgConn().Conn().(*tls.Conn); ok != tt.wantTLS {
				t.Errorf("TLS is %v, want %v", ok, tt.wantTLS)
			}
		})
	}
}

func TestExpiredCertificate(t *testing.T) {
	t.Parallel()
	certificate := fault.NewCertificate(t, time.Now().Add(-time.Hour))
	_, p := through(t, fault.Options{TLS: certificate.Server()})
	_, err := tryConnect(t.Context(), p.URL(), func(cfg *pgx.ConnConfig) {
		cfg.TLSConfig = certificate.Client()
	})
	if err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("error is %v, want an expired certificate", err)
	}
}

// A proxy uses TLS to the server if the server's connection string says so; a raw one leaves it to
// the client.
func TestTLSToServer(t *testing.T) {
	t.Parallel()
	certificate := fault.NewCertificate(t, time.Now().Add(time.Hour))
	_, server := through(t, fault.Options{TLS: certificate.Server()})
	for name, opts := range map[string]fault.Options{"plain to the client": {}, "raw": {Raw: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := fault.NewProxy(t, server.URL(), opts)
			conn := connect(t, p.URL())
			execute(t, conn, "select 1")
			if _, ok := conn.PgConn().Conn().(*tls.Conn); ok != opts.Raw {
				t.Errorf("the client's TLS is %v, want %v", ok, opts.Raw)
			}
			p.Freeze(fault.FromServer)
			answered := make(chan error, 1)
			go func() { answered <- conn.Ping(context.Background()) }()
			silent(t, answered)
			p.Heal()
			if err := soon(t, answered); err != nil {
				t.Error(err)
			}
		})
	}
	nobody := fault.NewProxy(t, "postgres://app@127.0.0.1:1/app?sslmode=require", fault.Options{})
	if _, err := tryConnect(t.Context(), nobody.URL()); err == nil {
		t.Error("connected to nobody")
	}
}

// Cancel requests reach the server, and are told from sessions.
func TestCancelRequest(t *testing.T) {
	t.Parallel()
	certificate := fault.NewCertificate(t, time.Now().Add(time.Hour))
	for name, opts := range map[string]fault.Options{
		"TCP": {}, "Unix socket": {Unix: true}, "TLS": {TLS: certificate.Server()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct, p := through(t, opts)
			conn, other := connect(t, p.URL()), connect(t, direct)
			answered := make(chan error, 1)
			go func() {
				_, err := conn.Exec(context.Background(), "select pg_sleep(3600)")
				answered <- err
			}()
			eventually(t, other, "select exists (select from pg_stat_activity "+
				"where datname = current_database() and wait_event = 'PgSleep')")
			if err := conn.PgConn().CancelRequest(t.Context()); err != nil {
				t.Fatal(err)
			}
			var failed *pgconn.PgError
			if err := soon(t, answered); !errors.As(err, &failed) || failed.Code != "57014" {
				t.Errorf("error is %v, want 57014", err)
			}
			if s := p.Stats(); s.Cancels != 1 || s.Connections != 2 {
				t.Errorf("%+v, want 1 cancel request of 2 connections", s)
			}
		})
	}
}

func TestStats(t *testing.T) {
	t.Parallel()
	_, p := through(t, fault.Options{})
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeCacheStatement,
	} {
		conn := connect(t, p.URL(), func(cfg *pgx.ConnConfig) { cfg.DefaultQueryExecMode = mode })
		if n := p.Stats().Open; n != 1 {
			t.Errorf("%d open, want 1", n)
		}
		before := p.Stats()
		const rounds = 50
		for range rounds {
			var n int
			if err := conn.QueryRow(t.Context(), "select $1::int", 7).Scan(&n); err != nil {
				t.Fatal(err)
			}
		}
		want := rounds
		if mode == pgx.QueryExecModeCacheStatement {
			want++ // the statement is prepared first
		}
		conn.Close(t.Context())
		until(t, "the session to end", func() bool { return p.Stats().Open == 0 })
		after := p.Stats()
		if got := after.Flushes - before.Flushes; got != want {
			t.Errorf("%s: %d flushes, want %d", mode, got, want)
		}
		sent, received := after.Sent-before.Sent, after.Received-before.Received
		if sent < 20*rounds || received < 20*rounds || sent > 200*rounds {
			t.Errorf("%s: %d bytes sent, %d received", mode, sent, received)
		}
	}
	if n := p.Stats().Connections; n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
}

// Many messages in one flush are one round trip, also with several points of synchronization, and
// if they are too long to be read at once.
func TestStatsOfPipeline(t *testing.T) {
	t.Parallel()
	_, p := through(t, fault.Options{})
	conn := connect(t, p.URL())
	before := p.Stats().Flushes
	pipeline := conn.PgConn().StartPipeline(t.Context())
	for range 5 {
		pipeline.SendQueryParams("select 1", nil, nil, nil, nil)
		pipeline.SendPipelineSync()
	}
	if err := errors.Join(pipeline.Flush(), pipeline.Close()); err != nil {
		t.Fatal(err)
	}
	if got := p.Stats().Flushes - before; got != 1 {
		t.Errorf("%d flushes, want 1", got)
	}
	before++
	pipeline = conn.PgConn().StartPipeline(t.Context())
	for range 5 {
		pipeline.SendQueryParams("select '"+strings.Repeat("x", 100_000)+"' = ''", nil, nil, nil, nil)
	}
	if err := errors.Join(pipeline.Sync(), pipeline.Close()); err != nil {
		t.Fatal(err)
	}
	if got := p.Stats().Flushes - before; got != 1 {
		t.Errorf("%d flushes of a long message, want 1", got)
	}
}

// Parameters, users and passwords survive; of errors only the reason does.
func TestURL(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]string{
		"URL": "postgres://a%20b:s3cret%2F+@127.0.0.1:1/shop?" +
			"application_name=a+b&sslmode=prefer&pool_max_conns=7&connect_timeout=3",
		"keywords and values": "host=127.0.0.1 port=1 user='a b' password='s3cret/+' dbname=shop " +
			"application_name='a b' pool_max_conns=7 sslmode=prefer",
	} {
		for kind, opts := range kinds {
			p := fault.NewProxy(t, server, opts)
			cfg, err := pgx.ParseConfig(p.URL())
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if cfg.User != "a b" || cfg.Password != "s3cret/+" || cfg.Database != "shop" ||
				cfg.RuntimeParams["application_name"] != "a b" || cfg.RuntimeParams["pool_max_conns"] != "7" {
				t.Errorf("%s, %s: %s %s %v", name, kind, cfg.User, cfg.Database, cfg.RuntimeParams)
			}
			if opts.Unix != filepath.IsAbs(cfg.Host) || !opts.Unix && cfg.Host != "127.0.0.1" {
				t.Errorf("%s, %s: host %s", name, kind, cfg.Host)
			}
		}
	}
	r := &recorder{T: t}
	r.run(func() { fault.NewProxy(r, "postgres://app:s3cret@host:port/app", fault.Options{}) })
	r.failed(t, "fault: proxy: the connection string does not parse")
}

// A socket needs a short path in a directory that can be written, wherever TMPDIR is.
func TestSocketWithUnusableTMPDIR(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"too long": long, "missing": filepath.Join(long, "missing")} {
		t.Setenv("TMPDIR", dir)
		p := fault.NewProxy(t, "postgres://app@127.0.0.1:1/app", fault.Options{Unix: true})
		if strings.HasPrefix(p.Addr(), dir) {
			t.Errorf("%s: %s", name, p.Addr())
		}
	}
	if left, err := os.ReadDir(long); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Nothing is left when the test ends: no connection, no socket, no port.
func TestProxyEnds(t *testing.T) {
	t.Parallel()
	direct, _ := through(t, fault.Options{})
	for name, opts := range kinds {
		r := &recorder{T: t}
		var url, address string
		r.run(func() {
			p := fault.NewProxy(r, direct, opts)
			url, address = p.URL(), p.Addr()
			connect(t, url)
			p.Freeze(fault.Both)
		})
		if _, err := tryConnect(t.Context(), url); err == nil {
			t.Errorf("%s: it still accepts connections", name)
		}
		if opts.Unix {
			if _, err := os.Stat(filepath.Dir(address)); err == nil {
				t.Errorf("%s is left", filepath.Dir(address))
			}
		}
	}
}
