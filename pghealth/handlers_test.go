package pghealth_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// newUnusedPool returns a pool that must not connect, and the number of attempts.
func newUnusedPool(t *testing.T) (*pgxpool.Pool, func() int) {
	t.Helper()
	l, port := listen(t)
	l.Close()
	asked := make(chan struct{}, 100)
	pool := newPool(t, "postgres://nobody@example.invalid/nothing?sslmode=disable", dialPort(port), dialed(asked))
	return pool, func() int { return len(asked) }
}

func TestLiveLeavesTheDatabaseAlone(t *testing.T) {
	t.Parallel()
	pool, asked := newUnusedPool(t)
	probe, _ := newProbe(t, pool, pghealth.Options{})
	wantLive := func() {
		t.Helper()
		r := get(t, pool, probe.Live())
		wantCode(t, r, http.StatusOK)
		if r.body != `{"status":"pass"}`+"\n" {
			t.Error(r.body)
		}
	}
	wantLive()
	probe.Drain()
	wantLive()
	probe.Close()
	wantLive()
	if n := asked(); n != 0 {
		t.Errorf("dialed %d times", n)
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	dials := make(chan struct{}, 100)
	pool := newPool(t, pgserver.Database(t), dialed(dials))
	probe, log := newProbe(t, pool, pghealth.Options{})
	r := get(t, pool, probe.Ready())
	wantCode(t, r, http.StatusOK)
	if c := r.check(t, "db:serving"); c.Status != "pass" || c.ComponentType != "system" {
		t.Error(r.body)
	}

	probe.Drain()
	probe.Drain()
	pool.Close()
	asked := len(dials)
	for range 2 {
		r = get(t, pool, probe.Ready())
		wantCode(t, r, http.StatusServiceUnavailable)
		if c := r.check(t, "db:serving"); r.Status != "fail" || c.Status != "fail" ||
			c.Output != "the service is shutting down" {
			t.Error(r.body)
		}
	}
	probe.Close()
	probe.Close()
	wantCode(t, get(t, pool, probe.Ready()), http.StatusServiceUnavailable)
	// A shutdown is not a failure.
	if len(dials) != asked || len(log.lines()) != 1 || !strings.Contains(log.String(), `"INFO"`) {
		t.Errorf("%d dials after %d; log: %s", len(dials), asked, log)
	}
}

func TestStartupIsForGood(t *testing.T) {
	t.Parallel()
	server := fault.NewServer(t, fault.ServerOptions{TCP: true})
	server.Stop(t)
	pool := newPool(t, server.URL())
	probe, _ := newProbe(t, pool, pghealth.Options{})
	ready, _ := newProbe(t, pool, pghealth.Options{})
	r := get(t, pool, probe.Startup())
	wantCode(t, r, http.StatusServiceUnavailable)
	if c := r.check(t, "db:connectivity"); c.Category != "refused" {
		t.Error(r.body)
	}
	wantCode(t, get(t, pool, ready.Ready()), http.StatusServiceUnavailable)

	server.Start(t)
	wantCode(t, get(t, pool, probe.Startup()), http.StatusOK)
	wantCode(t, get(t, pool, ready.Ready()), http.StatusOK)

	server.Stop(t)
	for name, p := range map[string]*pghealth.Probe{"Startup": probe, "Ready": ready} {
		wantCode(t, get(t, pool, p.Ready()), http.StatusServiceUnavailable)
		if r := get(t, pool, p.Startup()); r.code != http.StatusOK {
			t.Errorf("started by %s: %s", name, r.body)
		}
	}
}

func TestMethodsAndHeaders(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	probe, _ := newProbe(t, pool, pghealth.Options{})
	down, _ := newUnusedPool(t)
	broken, _ := newProbe(t, down, pghealth.Options{})
	mux := http.NewServeMux()
	mux.Handle("/live", probe.Live())
	mux.Handle("/ready", probe.Ready())
	mux.Handle("/startup", probe.Startup())
	mux.Handle("/down", broken.Ready())
	mux.Handle("/own", handler(probe, checker(t, probe, well)))
	server := httptest.NewServer(mux)
	defer server.Close()

	tests := []struct {
		method, path string
		code         int
	}{
		{"GET", "/live", 200},
		{"HEAD", "/live", 200},
		{"POST", "/live", 405},
		{"GET", "/ready", 200},
		{"HEAD", "/ready", 200},
		{"DELETE", "/ready", 405},
		{"GET", "/startup", 200},
		{"HEAD", "/startup", 200},
		{"PUT", "/startup", 405},
		{"GET", "/down", 503},
		{"HEAD", "/down", 503},
		{"GET", "/own", 200},
		{"HEAD", "/own", 200},
	}
	for _, test := range tests {
		req, err := http.NewRequestWithContext(t.Context(), test.method, server.URL+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		what := test.method + " " + test.path
		if resp.StatusCode != test.code {
			t.Errorf("%s: %d instead of %d", what, resp.StatusCode, test.code)
		}
		if got := resp.Header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s: Cache-Control %q", what, got)
		}
		if test.code == http.StatusMethodNotAllowed {
			if got := resp.Header.Get("Allow"); got != "GET, HEAD" {
				t.Errorf("%s: Allow %q", what, got)
			}
			continue
		}
		if got := resp.Header.Get("Content-Type"); got != "application/health+json" {
			t.Errorf("%s: Content-Type %q", what, got)
		}
		length, _ := strconv.Atoi(resp.Header.Get("Content-Length"))
		if length < len(`{"status":"pass"}`) || (test.method == "GET") != (len(body) == length) ||
			(test.method == "HEAD") != (len(body) == 0) {
			t.Errorf("%s: %d bytes of %d", what, len(body), length)
		}
	}

	// net/http drops the body of HEAD; other servers may not.
	rec := httptest.NewRecorder()
	probe.Ready().ServeHTTP(rec, httptest.NewRequest(http.MethodHead, "/", nil))
	if rec.Body.Len() != 0 {
		t.Errorf("HEAD wrote %s", rec.Body)
	}
}
