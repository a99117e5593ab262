package pghealth_test

import (
	"context"
	_ "embed" // for the page that measures
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// browserPages serves pages that pass, warn and fail, each under the name of its status, and counts
// the requests for them.
type browserPages struct {
	url   string
	asked map[string]*atomic.Int32
}

// measuring opens the pages in frames as wide as a phone and a desktop. It reports what is too wide
// or hard to read.
//
//go:embed testdata/measure.html
var measuring string

type measured struct {
	Page  string
	Width int
	Dark  bool
	Texts int
	Least float64
	Found []string
}

// serveBrowser serves the pages with everything on them.
func serveBrowser(t *testing.T) browserPages {
	t.Helper()
	url := pgserver.Database(t)
	execute(t, connect(t, url), "create table schema_version as select 8 as version, false as dirty")
	named := func(cfg *pgxpool.Config) { cfg.ConnConfig.RuntimeParams["application_name"] = "host-root" }
	opts := pghealth.Options{
		AllowReadOnly: true, Schema: versionTable(8),
		Listener: pghealth.ListenerFunc(func() (time.Time, error) { return time.Now().Add(-112 * time.Second), nil }),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/measure", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, measuring) })
	mux.HandleFunc("/frame/{page}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `<!doctype html><meta name="color-scheme" content="light dark">
			<style>body{margin:0}iframe{border:0}</style><iframe src="/%s" width="360" height="1200"></iframe>`,
			r.PathValue("page"))
	})
	pages := browserPages{asked: make(map[string]*atomic.Int32)}
	for _, name := range []string{"pass", "warn", "fail"} {
		pool := newPool(t, url, named)
		probe, _ := newProbe(t, pool, opts)
		if name == "warn" {
			acquire(t, pool)
		}
		if name == "fail" {
			acquire(t, pool)
			other := opts
			other.Name = "reports-of-a-database-with-a-name-that-is-rather-longer-than-usual"
			other.Schema = versionTable(9)
			behind, _ := newProbe(t, newPool(t, url, named), other)
			unreached, _ := newProbe(t, refused(t), pghealth.Options{Name: "archive"})
			var err error
			if probe, err = pghealth.Join(probe, behind, unreached); err != nil {
				t.Fatal(err)
			}
		}
		details, asked := probe.Details(), &atomic.Int32{}
		mux.HandleFunc("/"+name, func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			details.ServeHTTP(framable{w}, r)
		})
		pages.asked[name] = asked
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	pages.url = server.URL
	return pages
}

// framable lets the test open a page in a frame. The rest of the policy stays.
type framable struct{ http.ResponseWriter }

func (f framable) WriteHeader(code int) {
	const name = "Content-Security-Policy"
	f.Header().Set(name, strings.Replace(f.Header().Get(name), "frame-ancestors 'none'", "frame-ancestors 'self'", 1))
	f.ResponseWriter.WriteHeader(code)
}

// chromium runs the browser and returns its output.
func chromium(t *testing.T, args ...string) string {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("needs Chromium: apt-get install chromium")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "pghealth-chromium")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	out, err := exec.CommandContext(ctx, path, append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
		"--disable-component-update", "--disable-sync", "--hide-scrollbars", "--user-data-dir=" + dir,
	}, args...)...).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

const (
	light = "--blink-settings=preferredColorScheme=1"
	dark  = "--blink-settings=preferredColorScheme=0"
)

// The page on a phone and on a desktop, light and dark: nothing overflows, everything can be read,
// and it refreshes itself.
func TestPageInBrowser(t *testing.T) {
	t.Parallel()
	for name, scheme := range map[string]string{"light": light, "dark": dark} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pages := serveBrowser(t)
			dom := chromium(t, scheme, "--window-size=1400,900", "--virtual-time-budget=20000", "--dump-dom",
				pages.url+"/measure")
			_, result, _ := strings.Cut(dom, `<pre id="result">`)
			result, _, _ = strings.Cut(result, "</pre>")
			var all []measured
			if err := json.Unmarshal([]byte(html.UnescapeString(result)), &all); err != nil {
				t.Fatalf("%v in %s", err, dom)
			}
			if len(all) != 2*len(pages.asked) {
				t.Errorf("%d pages were measured", len(all))
			}
			for i, m := range all {
				if m.Width != []int{360, 1280}[i%2] || m.Dark != (name == "dark") || m.Texts < 20 {
					t.Errorf("measured %+v", m)
				}
				for _, found := range m.Found {
					t.Errorf("%s at %d: %s", m.Page, m.Width, found)
				}
				t.Logf("%s at %d: %d texts, least contrast %.1f", m.Page, m.Width, m.Texts, m.Least)
			}
			for page, asked := range pages.asked {
				if n := asked.Load(); n < 4 {
					t.Errorf("%s: %d requests of two frames in 11 s", page, n)
				}
			}
		})
	}
}

// A page refreshes itself even if its address has a password in it, or its path looks like another
// host.
func TestPageRefreshesAtAnyAddress(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	probe, _ := newProbe(t, pool, pghealth.Options{})
	server := httptest.NewServer(withPassword("secret", probe.Details()))
	defer server.Close()
	address := strings.Replace(server.URL, "http://", "http://operator:secret@", 1)
	for _, path := range []string{"/", "//example.invalid/"} {
		dom := chromium(t, light, "--virtual-time-budget=13000", "--dump-dom", address+path)
		if !strings.Contains(dom, "<h1>") || strings.Contains(dom, "<title>✕ no answer") {
			t.Errorf("%s: %s", path, dom)
		}
	}
}

// Screenshots go to the directory in PGHEALTH_SCREENSHOTS.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("PGHEALTH_SCREENSHOTS")
	if dir == "" {
		t.Skip("set PGHEALTH_SCREENSHOTS to a directory")
	}
	pages := serveBrowser(t)
	for page := range pages.asked {
		for name, scheme := range map[string]string{"light": light, "dark": dark} {
			file := filepath.Join(dir, page+"-"+name)
			chromium(t, scheme, "--window-size=1280,1100", "--screenshot="+file+"-1280.png", pages.url+"/"+page)
			chromium(t, scheme, "--window-size=500,1300", "--virtual-time-budget=2000", "--screenshot="+file+"-360.png",
				pages.url+"/frame/"+page)
		}
	}
}
