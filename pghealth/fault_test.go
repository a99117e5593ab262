package pghealth_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
)

// faultTimeout is short enough to notice a probe that hangs.
const faultTimeout = time.Second

// slack allows for a machine busy with other tests. It is short enough to notice a second timeout
// after the first.
const slack = 700 * time.Millisecond

// asked holds a probe's own handler and an application's checker with its own check, both over
// HTTP.
type asked struct {
	t      *testing.T
	pool   *pgxpool.Pool
	server *httptest.Server
}

func serveBoth(t *testing.T, pool *pgxpool.Pool, probe *pghealth.Probe) *asked {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/ready", probe.Ready())
	mux.Handle("/own", handler(probe, checker(t, probe, well)))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return &asked{t, pool, server}
}

func (a *asked) get(path string) response {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, a.server.URL+path, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	began := time.Now()
	resp, err := a.server.Client().Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	r := response{code: resp.StatusCode, header: resp.Header, body: string(body), took: time.Since(began)}
	if err := json.Unmarshal(body, &r); err != nil {
		a.t.Fatalf("%v in %s", err, body)
	}
	secretFree(a.t, a.pool, r.body, true)
	return r
}

// want is the expected answer: the code, and the status, category and output of one check, if
// given.
type want struct {
	code                            int
	check, status, category, output string
}

// want asks both until they give the expected answer in time. On a busy machine that may take
// several tries. It returns the check in the second one's answer.
func (a *asked) want(w want) (last check) {
	a.t.Helper()
	return a.wantAfter(func() {}, w)
}

// wantAfter does the same, and calls fn before each question.
func (a *asked) wantAfter(fn func(), w want) (last check) {
	a.t.Helper()
	for _, path := range []string{"/ready", "/own"} {
		var r response
		var got check
		deadline := time.Now().Add(20 * time.Second)
		for {
			fn()
			r = a.get(path)
			got = r.check(a.t, "db:"+w.check)
			if r.code == w.code && got.Status == w.status && got.Category == w.category &&
				(w.output == "" || got.Output == w.output) && r.took <= faultTimeout+slack {
				break
			}
			if time.Now().After(deadline) {
				a.t.Fatalf("%s: %d %s in %v, wanted %+v within %v", path, r.code, r.body, r.took, w, faultTimeout)
			}
			time.Sleep(5 * time.Millisecond)
		}
		if got.Status != "pass" && (got.Output == "" || got.Since.IsZero()) {
			a.t.Errorf("%s: %s", path, r.body)
		}
		a.t.Logf("%-6s %d %s %s %s in %v", path, r.code, w.check, got.Status, got.Category,
			r.took.Round(100*time.Microsecond))
		last = got
	}
	return last
}
