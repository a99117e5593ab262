package pghealth_test

import (
	"context"
	"encoding/json"
	"errors"
	"html"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alexliesenfeld/health"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// checker returns an application's own checker, with the probe's checks and one more.
func checker(t *testing.T, probe *pghealth.Probe, cache func() error, opts ...health.CheckerOption) health.Checker {
	t.Helper()
	opts = append([]health.CheckerOption{
		health.WithChecks(probe.Checks()...),
		health.WithCheck(health.Check{Name: "redis", Check: func(context.Context) error { return cache() }}),
		health.WithDisabledCache(),
		health.WithDisabledAutostart(), // otherwise the first check runs in a goroutine that a test cannot wait for
	}, opts...)
	return health.NewChecker(opts...)
}

func handler(probe *pghealth.Probe, c health.Checker) http.Handler {
	return health.NewHandler(c, health.WithResultWriter(probe.ResultWriter()))
}

func well() error { return nil }

func TestForeignChecker(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	probe, log := newProbe(t, pool, pghealth.Options{})
	var cacheError error
	info := health.WithInfo(map[string]any{"version": "1.2.3"})
	h := handler(probe, checker(t, probe, func() error { return cacheError }, info))

	r := get(t, pool, h)
	wantCode(t, r, http.StatusOK)
	if r.header.Get("Content-Type") != "application/health+json" || r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", r.header)
	}
	c := r.check(t, "db:connectivity")
	if r.Status != "pass" || c.Status != "pass" || c.ObservedValue == nil || c.ObservedUnit != "ms" ||
		r.check(t, "redis").Status != "pass" {
		t.Error(r.body)
	}
	if !strings.Contains(r.body, `"info":{"version":"1.2.3"}`) {
		t.Errorf("the application's info is missing: %s", r.body)
	}

	release := acquire(t, pool)
	r = get(t, pool, h)
	wantCode(t, r, http.StatusOK)
	if c := r.check(t, "db:saturation"); r.Status != "warn" || c.Status != "warn" || c.Category != "saturated" {
		t.Errorf("the warning is lost: %s", r.body)
	}
	release()

	cacheError = errors.New("dial redis://user:" + "select@cache")
	for range 2 {
		r = get(t, pool, h) // looks for the error's text
		wantCode(t, r, http.StatusServiceUnavailable)
		if r.Status != "fail" || r.check(t, "redis").Status != "fail" ||
			r.check(t, "db:connectivity").Status != "pass" {
			t.Error(r.body)
		}
	}
	if n := strings.Count(log.String(), "dial redis"); n != 1 {
		t.Errorf("the cause was logged %d times: %s", n, log)
	}
	cacheError = nil

	probe.Drain()
	r = get(t, pool, h)
	wantCode(t, r, http.StatusServiceUnavailable)
	if r.check(t, "db:serving").Status != "fail" {
		t.Error(r.body)
	}
	probe.Close()
	r = get(t, pool, h)
	wantCode(t, r, http.StatusServiceUnavailable)
	if c := r.check(t, "db:connectivity"); c.Status != "fail" || c.Category != "canceled" {
		t.Error(r.body)
	}
}

func refused(t *testing.T) *pgxpool.Pool {
	l, port := listen(t)
	l.Close()
	return newPool(t, pgserver.Database(t), dialPort(port))
}

func TestForeignCheckerFault(t *testing.T) {
	t.Parallel()
	pool := refused(t)
	probe, _ := newProbe(t, pool, pghealth.Options{})
	var heard error
	checks := probe.Checks()
	for i := range checks {
		if checks[i].Name == "db:connectivity" {
			checks[i].StatusListener = func(_ context.Context, _ string, s health.CheckState) { heard = s.Result }
		}
	}
	c := health.NewChecker(health.WithChecks(checks...), health.WithDisabledCache(), health.WithDisabledAutostart())
	r := get(t, pool, handler(probe, c))
	wantCode(t, r, http.StatusServiceUnavailable)
	got := r.check(t, "db:connectivity")
	if got.Status != "fail" || got.Category != "refused" || got.Since.IsZero() {
		t.Error(r.body)
	}

	// The library's own writer serves the error's text.
	plain := get(t, pool, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		result := c.Check(r.Context())
		_ = json.NewEncoder(w).Encode(map[string]any{"details": result.Details})
	}))
	if !strings.Contains(plain.body, "db:connectivity: the database cannot be used") {
		t.Error(plain.body)
	}

	var failed *pghealth.FailedError
	if !errors.As(heard, &failed) || failed.Check() != "db:connectivity" || pgerr.Of(heard) != pgerr.Refused ||
		errors.Unwrap(failed) == nil {
		t.Errorf("%#v", heard)
	}

	// A dump by reflection finds no password either.
	var refusal *pgconn.ConnectError
	if !errors.As(heard, &refusal) || refusal.Config == nil || refusal.Config.Password != "" {
		t.Errorf("the cause has the password: %T", heard)
	}

	tolerant := probe.Checks()
	for i := range tolerant {
		tolerant[i].MaxContiguousFails = 2
	}
	c = health.NewChecker(health.WithChecks(tolerant...), health.WithDisabledCache(), health.WithDisabledAutostart())
	r = get(t, pool, handler(probe, c))
	wantCode(t, r, http.StatusOK)
	if got := r.check(t, "db:connectivity"); r.Status != "warn" || got.Status != "warn" || got.Category != "refused" {
		t.Errorf("tolerated by the checker: %s", r.body)
	}
	wantCode(t, get(t, pool, handler(probe, c)), http.StatusServiceUnavailable)
}

// Two databases, two probes, one checker: the writer of one probe knows only the errors of the
// other.
func TestTwoProbesInOneChecker(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	primary, _ := newProbe(t, pool, pghealth.Options{Name: "primary"})
	replica, _ := newProbe(t, refused(t), pghealth.Options{Name: "replica", AllowReadOnly: true})
	c := checker(t, primary, well, health.WithChecks(replica.Checks()...))
	r := get(t, pool, handler(primary, c))
	wantCode(t, r, http.StatusServiceUnavailable)
	if got := r.check(t, "replica:connectivity"); got.Status != "fail" || got.Category != "refused" ||
		got.Output == "" {
		t.Error(r.body)
	}
	if got := r.check(t, "primary:connectivity"); got.Status != "pass" || got.ObservedValue == nil {
		t.Error(r.body)
	}
}

// Periodic checks are unknown at first, and then down in time although the database hangs.
func TestForeignPeriodicChecks(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	proxy := fault.NewProxy(t, url, fault.Options{})
	pool := newPool(t, url, dialProxy(proxy))
	probe, _ := newProbe(t, pool, pghealth.Options{Timeout: 300 * time.Millisecond})
	opts := []health.CheckerOption{health.WithDisabledAutostart()}
	for _, c := range probe.Checks() {
		opts = append(opts, health.WithPeriodicCheck(10*time.Millisecond, 0, c))
	}
	c := health.NewChecker(opts...)
	h := handler(probe, c)
	r := get(t, pool, h)
	wantCode(t, r, http.StatusServiceUnavailable)
	if got := r.check(t, "db:connectivity"); got.Status != "fail" || got.Output != "not checked yet" {
		t.Error(r.body)
	}

	c.Start()
	defer c.Stop()
	wantEventually(t, pool, h, http.StatusOK)
	proxy.Freeze(fault.Both)
	wantEventually(t, pool, h, http.StatusServiceUnavailable)
	proxy.Heal()
	wantEventually(t, pool, h, http.StatusOK)
}

// A caller that hangs up during a check must not make the service look down to later callers.
func TestCallerHangsUp(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	schema := &versionCounter{hold: make(chan struct{})}
	probe, log := newProbe(t, pool, pghealth.Options{Schema: schema, Timeout: 20 * time.Second, MaxAge: time.Hour})
	c := checker(t, probe, well, health.WithCacheDuration(time.Hour), health.WithTimeout(time.Minute))
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan int)
	go func() {
		rec := httptest.NewRecorder()
		handler(probe, c).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx))
		answered <- rec.Code
	}()
	schema.hold <- struct{}{} // the check has begun
	cancel()
	<-answered
	close(schema.hold)

	r := get(t, pool, handler(probe, c))
	wantCode(t, r, http.StatusOK)
	if r.Status != "pass" || log.String() != "" {
		t.Errorf("%s; log: %s", r.body, log)
	}
}

// A caller with a limit shorter than the check gets the check's real answer, even if it asks
// rarely: neither a false failure nor an old success.
func TestCallerWithALimit(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	path := fault.NewProxy(t, url, fault.Options{})
	pool := newPool(t, url, dialProxy(path))
	probe, log := newProbe(t, pool, pghealth.Options{Timeout: 3 * time.Second})
	// Leave out the application's check, which the library reports as late when the caller's limit
	// ends.
	h := handler(probe, health.NewChecker(health.WithChecks(probe.Checks()...),
		health.WithCacheDuration(time.Nanosecond), health.WithDisabledAutostart()))
	wantEventually(t, pool, h, http.StatusOK)
	ask := func() response {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx))
		r := response{code: rec.Code, body: rec.Body.String()}
		if err := json.Unmarshal(rec.Body.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	before := log.String()
	path.Delay(fault.FromServer, 20*time.Millisecond)
	for range 3 {
		wantCode(t, ask(), http.StatusOK)
	}
	if log.String() != before {
		t.Errorf("log: %s", log)
	}
	path.Freeze(fault.Both)
	for range 2 {
		r := ask()
		wantCode(t, r, http.StatusServiceUnavailable)
		if c := r.check(t, "db:connectivity"); c.Category != "timeout" {
			t.Error(r.body)
		}
	}
}

// A check ends within the probe's own timeout. A shorter limit of the checker does not hide the
// check's result.
func TestForeignCheckerTimeouts(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	hole := fault.NewProxy(t, url, fault.Options{})
	hole.Freeze(fault.Both)
	pool := newPool(t, url, dialProxy(hole))
	probe, _ := newProbe(t, pool, pghealth.Options{Timeout: 300 * time.Millisecond})
	for _, opts := range [][]health.CheckerOption{{health.WithTimeout(50 * time.Millisecond)}, nil} {
		r := get(t, pool, handler(probe, checker(t, probe, well, opts...)))
		wantCode(t, r, http.StatusServiceUnavailable)
		if c := r.check(t, "db:connectivity"); c.Category != "timeout" ||
			c.Output != "the database does not answer in time" || c.Since.IsZero() {
			t.Error(r.body)
		}
	}
}

func TestForeignCheckerWithoutDetails(t *testing.T) {
	t.Parallel()
	pool := refused(t)
	probe, _ := newProbe(t, pool, pghealth.Options{})
	r := get(t, pool, handler(probe, checker(t, probe, well, health.WithDisabledDetails())))
	wantCode(t, r, http.StatusServiceUnavailable)
	if r.body != `{"status":"fail"}`+"\n" {
		t.Error(r.body)
	}
}

func TestInfoThatIsNoJSON(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	probe, _ := newProbe(t, pool, pghealth.Options{})
	r := get(t, pool, handler(probe, checker(t, probe, well, health.WithInfo(map[string]any{"f": func() {}}))))
	wantCode(t, r, http.StatusOK)
	if r.check(t, "db:connectivity").Status != "pass" {
		t.Error(r.body)
	}
}

// While the service shuts down, a failing check is not logged as a failure, in any handler.
func TestOthersFailWhileDraining(t *testing.T) {
	t.Parallel()
	pool, _ := newUnusedPool(t)
	probe, log := newProbe(t, pool, pghealth.Options{})
	probe.Drain()
	get(t, pool, handler(probe, checker(t, probe, func() error { return errors.New("the cache is closed") })))
	if !strings.Contains(log.String(), "the cache is closed") ||
		strings.Count(log.String(), `"INFO"`) != len(log.lines()) {
		t.Errorf("log: %s", log)
	}
}

// secretive is shown as its MarshalJSON decides.
type secretive string

func (secretive) MarshalJSON() ([]byte, error) { return []byte(`"***"`), nil }

// A page shows no more of the application's info than its JSON does.
func TestInfoOnAPage(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	probe, _ := newProbe(t, pool, pghealth.Options{})
	type build struct {
		Version string
		Token   string `json:"-"`
		key     string
	}
	cyclic := make(map[string]any)
	cyclic["self"] = cyclic
	h := handler(probe, checker(t, probe, well, health.WithInfo(map[string]any{
		"a": build{"1.2", "s3cret", "s3cret"}, "b": secretive("s3cret"), "c": []*build{{Version: "1.3"}},
		"d": cyclic, "f": func() {}, "g": "shown", "h": 7, "i": nil,
	})))
	code, _, body := accepting(t, h, browserAccepts)
	if code != http.StatusOK || strings.Contains(body, "s3cret") {
		t.Errorf("%d %s", code, body)
	}
	body = html.UnescapeString(body)
	for _, text := range []string{
		`{"Version":"1.2"}`, "***", `[{"Version":"1.3"}]`, "cannot be written as JSON", "shown", "7", "null",
	} {
		if !strings.Contains(body, "<dd>"+text+"</dd>") {
			t.Errorf("no %s in %s", text, body)
		}
	}
}
