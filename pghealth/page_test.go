package pghealth_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alexliesenfeld/health"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// browserAccepts has the form of Chromium's header.
const browserAccepts = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"

func accepting(t *testing.T, h http.Handler, accept string) (code int, header http.Header, body string) {
	t.Helper()
	rec := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	req.Header.Set("Accept", accept)
	h.ServeHTTP(rec, req)
	return rec.Code, rec.Header(), rec.Body.String()
}

func TestBrowserGetsAPage(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	probe, _ := newProbe(t, pool, pghealth.Options{})
	own := handler(probe, checker(t, probe, well))
	for accept, page := range map[string]bool{
		browserAccepts:                      true,
		"text/html":                         true,
		"TEXT/HTML":                         true, // RFC 9110: media types do not depend on case
		"application/json, text/html;q=0.9": false,
		"APPLICATION/HEALTH+JSON, text/html;q=0.9": false,
		"Text/HTML, Application/JSON;q=0.1":        false,
		"":                                         false,
		"*/*":                                      false,
		"text/*":                                   false,
		";;,,":                                     false,
		"text/html" + strings.Repeat(", text/html", 100_000): false, // longer than any browser's
	} {
		for name, h := range map[string]http.Handler{
			"own": own, "ready": probe.Ready(), "live": probe.Live(), "startup": probe.Startup(),
			"details": probe.Details(),
		} {
			code, header, body := accepting(t, h, accept)
			if code != http.StatusOK || strings.HasPrefix(header.Get("Content-Type"), "text/html") != page ||
				strings.HasPrefix(body, "<!doctype html>") != page {
				t.Errorf("%s with %.100q: %d %v %s", name, accept, code, header, body)
			}
			if header.Get("Vary") != "Accept" || header.Get("Cache-Control") != "no-store" ||
				header.Get("X-Content-Type-Options") != "nosniff" ||
				(header.Get("Referrer-Policy") == "no-referrer") != page {
				t.Errorf("%s: %v", name, header)
			}
			secretFree(t, pool, body, name != "details")
		}
	}
}

// What the page says, without any script.
func TestPageText(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t),
		func(cfg *pgxpool.Config) { cfg.ConnConfig.RuntimeParams["application_name"] = "host-root" })
	execute(t, connect(t, pool.Config().ConnString()),
		"create table schema_version as select 8 as version, false as dirty")
	probe, _ := newProbe(t, pool, pghealth.Options{
		Schema:   versionTable(8),
		Listener: pghealth.ListenerFunc(func() (time.Time, error) { return time.Now().Add(-111855481138), nil }),
	})
	_, header, body := accepting(t, probe.Details(), browserAccepts)
	for _, part := range []string{
		"<title>✓ host-root: Ready</title>", "all 5 checks pass", "version 8 of 8", "up for 111 s", "0 of 2 in use",
		" ms</span>",
		pool.Config().ConnConfig.Database, `<noscript><meta http-equiv="refresh" content="5"></noscript>`,
		`title="since 20`, ">just now</time>",
	} {
		if !strings.Contains(body, part) {
			t.Errorf("no %s in %s", part, body)
		}
	}
	policy := header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "connect-src 'self'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("no %s in %s", part, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(body, "//") && strings.Contains(body, "src=") {
		t.Errorf("the page may load something: %s %s", policy, body)
	}

	defer acquire(t, pool)()
	code, _, body := accepting(t, probe.Details(), browserAccepts)
	if code != http.StatusOK || !strings.Contains(body, "<title>! host-root: Ready, with warnings</title>") ||
		!strings.Contains(body, "1 of 5 checks with a warning") ||
		!strings.Contains(body, "all connections of the pool are in use") || !strings.Contains(body, "2 of 2 in use") {
		t.Errorf("%d %s", code, body)
	}
	// The worst comes first.
	if strings.Index(body, "<b>saturation</b>") > strings.Index(body, "<b>connectivity</b>") {
		t.Error(body)
	}
	probe.Drain()
	code, _, body = accepting(t, probe.Ready(), browserAccepts)
	if code != http.StatusServiceUnavailable || !strings.Contains(body, "<title>✕ Health: Not ready</title>") {
		t.Errorf("%d %s", code, body)
	}
}

// Names and values of the application's cannot become markup.
func TestPageEscapes(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	probe, _ := newProbe(t, pool, pghealth.Options{})
	evil := health.WithCheck(health.Check{Name: "<script>alert(1)</script>", Check: probe.Checks()[0].Check})
	_, _, body := accepting(t, handler(probe, checker(t, probe, well, evil,
		health.WithInfo(map[string]any{"version": "<i>1</i>"}))), browserAccepts)
	if strings.Contains(body, "alert(1)</script>") || strings.Contains(body, "<i>") ||
		!strings.Contains(body, "&lt;script&gt;") || !strings.Contains(body, "&lt;i&gt;") {
		t.Error(body)
	}
}

// A client may send a header of a megabyte, which must not buy it a share of the processor.
func TestLongAcceptCostsNothing(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	probe, _ := newProbe(t, pool, pghealth.Options{})
	live := probe.Live()
	took := func(accept string) time.Duration {
		began := time.Now()
		for range 100 {
			accepting(t, live, accept)
		}
		return time.Since(began)
	}
	long := strings.Repeat("text/html;q=0.1,", 1<<16)
	best := time.Hour // of three: other tests run at the same time
	for range 3 {
		best = min(best, took(long)-5*took("*/*"))
	}
	if best > 0 {
		t.Errorf("100 answers took %v more than five times as long as with a short header", best)
	}
}
