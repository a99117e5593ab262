package fault_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

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
	const delay = 500 * time.Millisecond
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
			// Of many pieces the last one is as late as the first: 8 MB would take a minute if each
			// waited for the one before.
			for _, sql := range []string{"select 1", "select repeat('x', 100000) from generate_series(1, 80)"} {
				if took := timed(t, conn, sql); took < tt.least || took > patience {
					t.Errorf("%s took %s, want %s", sql, took, tt.least)
				}
			}
			p.Delay(tt.direction, time.Hour)
			p.Delay(tt.direction, 0)
			timed(t, conn, "select 1")
		})
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	const answer = "select repeat('x', 50000)" // 2.5 s at the rate
	request := "select length('" + strings.Repeat("x", 50000) + "')"
	for name, tt := range map[string]struct {
		direction  fault.Direction
		slow, fast string
	}{"to the server": {fault.ToServer, request, answer}, "from the server": {fault.FromServer, answer, request}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, p := through(t, fault.Options{})
			conn := connect(t, p.URL())
			p.Rate(tt.direction, 20_000)
			if took := timed(t, conn, tt.slow); took < 2250*time.Millisecond {
				t.Errorf("the slow direction took %s, want 2.5 s", took)
			}
			p.Rate(tt.direction, 1000) // 50 s, beyond the limit of timed
			timed(t, conn, tt.fast)
			p.Heal()
			timed(t, conn, tt.slow)
		})
	}
}

// timed returns how long a statement takes, at most patience.
func timed(t *testing.T, conn *pgx.Conn, sql string) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began := time.Now()
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatalf("%.50s: %v", sql, err)
	}
	return time.Since(began)
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
