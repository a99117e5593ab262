package pghealth_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/alexliesenfeld/health"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

const token = pghealth.Token("correct-horse-battery-staple")

func TestVerbose(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	probe, _ := newProbe(t, pool, pghealth.Options{Token: token})
	closed, _ := newProbe(t, pool, pghealth.Options{})
	tests := []struct {
		url, header   string
		code          int
		open, verbose bool
	}{
		{"/", "", 200, true, false},
		{"/", "Bearer " + string(token), 200, true, false},
		{"/?verbose", "Bearer " + string(token), 200, true, true},
		{"/?verbose=1", "bearer  " + string(token), 200, true, true},
		{"/?verbose=false", "", 200, true, false},
		{"/?verbose", "", 401, true, false},
		{"/?verbose", "Bearer", 401, true, false},
		{"/?verbose", "Bearer wrong", 401, true, false},
		{"/?verbose", "Bearer " + string(token) + "x", 401, true, false},
		{"/?verbose", "Bearer " + string(token)[:20], 401, true, false},
		{"/?verbose", "Basic " + string(token), 401, true, false},
		{"/?verbose&token=" + string(token), "", 401, true, false},
		{"/?verbose", "Bearer ", 200, false, false},
		{"/?verbose", "Bearer " + string(token), 200, false, false},
	}
	cfg := pool.Config().ConnConfig
	for _, test := range tests {
		p := closed
		if test.open {
			p = probe
		}
		for name, h := range map[string]http.Handler{"own": handler(p, checker(t, p, well)), "ready": p.Ready(), "live": p.Live(), "startup": p.Startup()} {
			rec := httptest.NewRecorder()
			req := httptest.NewRequest(http.MethodGet, test.url, nil)
			req.Header.Set("Authorization", test.header)
			h.ServeHTTP(rec, req)
			what := fmt.Sprintf("%s %s with %q: %d %s", name, test.url, test.header, rec.Code, rec.Body)
			if rec.Code != test.code || strings.Contains(rec.Body.String(), `"verbose"`) != test.verbose || strings.Contains(rec.Body.String(), cfg.Database) != test.verbose {
				t.Error(what)
			}
			if strings.Contains(rec.Body.String(), password) || strings.Contains(rec.Body.String(), string(token)) || rec.Header().Get("Cache-Control") != "no-store" {
				t.Error(what)
			}
			if test.code == 401 && rec.Header().Get("WWW-Authenticate") != "Bearer" {
				t.Error(what)
			}
		}
	}
}

// What the verbose form adds, of a fault: where, and the server's code; never the text.
func TestVerboseFault(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t), func(cfg *pgxpool.Config) { cfg.ConnConfig.Database = "no_such_database" })
	probe, log := newProbe(t, pool, pghealth.Options{Token: token})
	req := httptest.NewRequest(http.MethodGet, "/?verbose", nil)
	req.Header.Set("Authorization", "Bearer "+string(token))
	rec := httptest.NewRecorder()
	probe.Ready().ServeHTTP(rec, req)
	var got struct {
		Verbose map[string]map[string]string
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	v := got.Verbose
	if v["sqlstate"]["db:connectivity"] != "3D000" || v["target"]["database"] != "no_such_database" || v["target"]["user"] == "" || v["probe"]["timeout"] != "5s" ||
		v["pool"]["acquires"] != "0" || v["server"] != nil {
		t.Error(rec.Body)
	}
	if !strings.Contains(log.String(), "does not exist") || strings.Contains(rec.Body.String(), "does not exist") {
		t.Errorf("%s; log: %s", rec.Body, log)
	}
}

func TestTokenDoesNotPrint(t *testing.T) {
	t.Parallel()
	opts := pghealth.Options{Token: token}
	js, err := json.Marshal(map[string]any{"t": token})
	if err != nil {
		t.Fatal(err)
	}
	printed := fmt.Sprintf("%v %+v %#v %s %q %x %d", opts, opts, opts, token, token, token, token) + string(js)
	if strings.Contains(printed, string(token)) || strings.Contains(printed, fmt.Sprintf("%x", string(token))) || strings.Count(printed, "****") != 8 {
		t.Error(printed)
	}
	pool, _ := nowhere(t)
	_, err = pghealth.New(pool, pghealth.Options{Token: "short-secret"})
	if err == nil || strings.Contains(err.Error(), "short-secret") || !strings.Contains(err.Error(), "12 characters") {
		t.Error(err)
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	probe, _ := newProbe(t, pool, pghealth.Options{Token: token})
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
	info := health.WithInfo(map[string]any{"version": "<i>1</i>"})
	evil := health.WithCheck(health.Check{Name: "<script>alert(1)</script>", Check: probe.Serving().Check})
	own := handler(probe, checker(t, probe, well, info, evil))
	tests := []struct {
		accept string
		page   bool
	}{
		{browser, true},
		{"text/html", true},
		{"application/json, text/html;q=0.9", false},
		{"text/html;q=0.9, application/health+json;q=0.8", true},
		{"text/html, application/json", false}, // as good: JSON
		{"", false},
		{"*/*", false},
		{"text/*", false},
		{"text/html;q=0", false},
		{"text/html;q=x", false},
		{";;,,", false},
	}
	for _, test := range tests {
		for name, h := range map[string]http.Handler{"own": own, "ready": probe.Ready(), "live": probe.Live(), "startup": probe.Startup()} {
			rec := httptest.NewRecorder()
			req := httptest.NewRequest(http.MethodGet, "/", nil)
			req.Header.Set("Accept", test.accept)
			h.ServeHTTP(rec, req)
			body := rec.Body.String()
			if rec.Code != http.StatusOK || strings.HasPrefix(rec.Header().Get("Content-Type"), "text/html") != test.page || strings.HasPrefix(body, "<!doctype html>") != test.page {
				t.Errorf("%s with %q: %d %v %s", name, test.accept, rec.Code, rec.Header(), body)
			}
			if rec.Header().Get("Vary") == "" || rec.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%v", rec.Header())
			}
			secretFree(t, pool, body, true)
		}
	}

	release := acquire(t, pool)
	defer release()
	rec := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodGet, "/?verbose", nil)
	req.Header.Set("Accept", browser)
	req.Header.Set("Authorization", "Bearer "+string(token))
	own.ServeHTTP(rec, req)
	body := rec.Body.String()
	for _, part := range []string{
		`<h1 class="warn">warn</h1>`, "<td>db:connectivity<td class=\"pass\">pass", " ms", "saturated", "all connections of the pool are in use",
		"max 2", "&lt;script&gt;", "&lt;i&gt;", pool.Config().ConnConfig.Database,
	} {
		if !strings.Contains(body, part) {
			t.Errorf("no %s in %s", part, body)
		}
	}
	if strings.Contains(body, "<script") || strings.Contains(body, "<i>") || !strings.Contains(rec.Header().Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("%v %s", rec.Header(), body)
	}

	rec = httptest.NewRecorder()
	req = httptest.NewRequest(http.MethodHead, "/", nil)
	req.Header.Set("Accept", browser)
	probe.Ready().ServeHTTP(rec, req)
	if rec.Body.Len() != 0 || rec.Header().Get("Content-Length") == "0" {
		t.Error(rec.Body)
	}
	probe.Drain()
	rec = httptest.NewRecorder()
	req.Method = http.MethodGet
	probe.Ready().ServeHTTP(rec, req)
	if rec.Code != http.StatusServiceUnavailable || !strings.Contains(rec.Body.String(), `<h1 class="fail">fail</h1>`) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}
