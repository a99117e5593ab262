package pghealth_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if runtime.GOMAXPROCS(0) < 8 { // tests mostly wait for limits to pass
		if err := flag.Set("test.parallel", "8"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

const password = "not-for-the-public"

// newPool returns a pool that has not connected. Its user and password must never be in an answer.
func newPool(t *testing.T, url string, adapt ...func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal("the test server's URL does not parse")
	}
	if cfg.ConnConfig.Password == "" {
		cfg.ConnConfig.Password = password
	}
	cfg.MaxConns = 2
	for _, a := range adapt {
		a(cfg)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// newProbe returns a probe and its log. The probe caches no answers unless opts say so. Its name
// differs from the database user's, so that a test can search answers for the user.
func newProbe(t *testing.T, pool *pgxpool.Pool, opts pghealth.Options) (*pghealth.Probe, *logs) {
	t.Helper()
	log := &logs{}
	if opts.Name == "" {
		opts.Name = "db"
	}
	if opts.MaxAge == 0 {
		opts.MaxAge = -1
	}
	if opts.Timeout == 0 {
		opts.Timeout = 5 * time.Second // a machine busy with other tests is not a fault; tests of the limit set it
	}
	opts.Logger = slog.New(slog.NewJSONHandler(log, nil))
	probe, err := pghealth.New(pool, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(probe.Close)
	t.Cleanup(func() { secretFree(t, pool, log.String(), false) })
	return probe, log
}

// logs collects what a probe logs.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logs) lines() []string {
	return strings.FieldsFunc(l.String(), func(r rune) bool { return r == '\n' })
}

// response is an answer over HTTP.
type response struct {
	code   int
	header http.Header
	body   string
	took   time.Duration

	Status string
	Checks map[string][]check
}

type check struct {
	ComponentType string
	ObservedValue *float64
	ObservedUnit  string
	Status        string
	Category      string
	Output        string
	Figures       map[string]int64
	Time, Since   time.Time
}

// check returns the one entry of a check.
func (r response) check(t *testing.T, name string) check {
	t.Helper()
	if len(r.Checks[name]) != 1 {
		t.Fatalf("no check %q in %s", name, r.body)
	}
	return r.Checks[name][0]
}

// get asks h, and fails the test if the answer shows anything that is not for the public.
func get(t *testing.T, pool *pgxpool.Pool, h http.Handler) response {
	t.Helper()
	rec := httptest.NewRecorder()
	began := time.Now()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	r := response{code: rec.Code, header: rec.Header(), body: rec.Body.String(), took: time.Since(began)}
	if err := json.Unmarshal([]byte(r.body), &r); err != nil {
		t.Fatalf("%v in %q", err, r.body)
	}
	secretFree(t, pool, r.body, true)
	return r
}

// secretFree looks for the pool's password, and in public for whatever describes the database.
func secretFree(t *testing.T, pool *pgxpool.Pool, text string, public bool) {
	t.Helper()
	cfg := pool.Config().ConnConfig
	secrets := []string{password, cfg.Password}
	if public {
		secrets = append(secrets, cfg.Host, cfg.User, cfg.Database, ":"+strconv.Itoa(int(cfg.Port)), "select",
			"SQLSTATE", "goroutine")
	}
	for _, s := range secrets {
		if strings.Contains(text, s) {
			t.Errorf("%q is in %s", s, text)
		}
	}
}

func wantCode(t *testing.T, r response, code int) {
	t.Helper()
	if r.code != code {
		t.Fatalf("code %d instead of %d: %s", r.code, code, r.body)
	}
}

// wantEventually asks until the answer has the code, because the machine may be too busy for a
// short timeout.
func wantEventually(t *testing.T, pool *pgxpool.Pool, h http.Handler, code int) response {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		r := get(t, pool, h)
		if r.code == code {
			return r
		}
		if time.Now().After(deadline) {
			t.Fatalf("still %d: %s", r.code, r.body)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// listen returns a listener on loopback and its port.
func listen(t *testing.T) (net.Listener, uint16) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, uint16(l.Addr().(*net.TCPAddr).Port)
}

// dialPort makes a pool connect to a port of loopback.
func dialPort(port uint16) func(*pgxpool.Config) {
	return func(cfg *pgxpool.Config) {
		cfg.ConnConfig.Host, cfg.ConnConfig.Port = "127.0.0.1", port
		cfg.ConnConfig.Fallbacks, cfg.ConnConfig.TLSConfig = nil, nil
	}
}

// serve hands each connection to fn until the listener is closed.
func serve(l net.Listener, fn func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		fn(c)
	}
}

// dialProxy makes a pool connect through a proxy.
func dialProxy(p *fault.Proxy) func(*pgxpool.Config) { return dialPort(port(p)) }

func port(p *fault.Proxy) uint16 {
	_, text, _ := net.SplitHostPort(p.Addr())
	n, _ := strconv.ParseUint(text, 10, 16)
	return uint16(n)
}

// acquire takes all of the pool's connections until the returned function is called.
func acquire(t *testing.T, pool *pgxpool.Pool) (release func()) {
	t.Helper()
	var all []*pgxpool.Conn
	for range pool.Config().MaxConns {
		conn, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, conn)
	}
	release = sync.OnceFunc(func() {
		for _, conn := range all {
			conn.Release()
		}
	})
	t.Cleanup(release)
	return release
}
