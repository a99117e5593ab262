package pghealth_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/alexliesenfeld/health"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// Two databases in one set of handlers and in one checker. The second one's warning is kept.
func TestJoinKeepsWarnings(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	pool, busy := newPool(t, url), newPool(t, url)
	first, _ := newProbe(t, pool, pghealth.Options{Name: "first"})
	second, log := newProbe(t, busy, pghealth.Options{Name: "second"})
	both, err := pghealth.Join(first, second)
	if err != nil {
		t.Fatal(err)
	}
	release := acquire(t, busy)
	for name, h := range map[string]http.Handler{
		"own":   handler(both, checker(t, both, well)),
		"ready": both.Ready(), "details": both.Details(),
	} {
		code, _, body := accepting(t, h, "*/*")
		if code != http.StatusOK || !strings.HasPrefix(body, `{"status":"warn"`) ||
			!strings.Contains(body, `"second:saturation":[{"componentType":"datastore","observedValue":2`) ||
			!strings.Contains(body, `"first:connectivity"`) {
			t.Errorf("%s: %d %s", name, code, body)
		}
	}
	if !strings.Contains(log.String(), `"WARN"`) {
		t.Errorf("log: %s", log)
	}
	release()
	both.AgeSaturation(10 * time.Second)
	if r := get(t, pool, both.Ready()); r.Status != "pass" || len(r.Checks) != 6 {
		t.Error(r.body)
	}
}

// The worst database decides, and each is shown. Closing one probe closes the joined one.
func TestJoinFails(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	well, _ := newProbe(t, pool, pghealth.Options{Name: "well"})
	down, _ := newProbe(t, refused(t), pghealth.Options{Name: "down"})
	both, err := pghealth.Join(well, down)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []http.Handler{both.Ready(), both.Startup()} {
		r := get(t, pool, h)
		wantCode(t, r, http.StatusServiceUnavailable)
		if r.check(t, "down:connectivity").Category != "refused" || r.check(t, "well:connectivity").Status != "pass" {
			t.Error(r.body)
		}
	}
	wantCode(t, get(t, pool, well.Ready()), http.StatusOK)
	wantCode(t, get(t, pool, both.Live()), http.StatusOK)

	three, _ := newProbe(t, pool, pghealth.Options{Name: "third"})
	all, err := pghealth.Join(well, three)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, get(t, pool, all.Ready()), http.StatusOK)
	well.Drain()
	r := get(t, pool, all.Ready())
	wantCode(t, r, http.StatusServiceUnavailable)
	if len(r.Checks) != 2 || r.check(t, "well:serving").Status != "fail" ||
		r.check(t, "third:serving").Status != "pass" {
		t.Error(r.body)
	}
	wantCode(t, get(t, pool, three.Ready()), http.StatusOK)
	all.Close()
	wantCode(t, get(t, pool, three.Ready()), http.StatusServiceUnavailable)
}

func TestJoinRefuses(t *testing.T) {
	t.Parallel()
	pool, _ := newUnusedPool(t)
	a, _ := newProbe(t, pool, pghealth.Options{Name: "a"})
	other, _ := newProbe(t, pool, pghealth.Options{Name: "a"})
	for want, probes := range map[string][]*pghealth.Probe{
		"no probes":            nil,
		"probe 1 is nil":       {a, nil},
		"probe 0 is nil or em": {{}},
		`two are named "a"`:    {a, other},
		`two are named "a": g`: {a, a},
	} {
		if _, err := pghealth.Join(probes...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v instead of %s", err, want)
		}
	}
}

// The checker of the library has the names of all.
func TestJoinedChecks(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	a, _ := newProbe(t, pool, pghealth.Options{Name: "a"})
	b, _ := newProbe(t, pool, pghealth.Options{Name: "b"})
	both, err := pghealth.Join(a, b)
	if err != nil {
		t.Fatal(err)
	}
	c := health.NewChecker(health.WithChecks(both.Checks()...), health.WithDisabledAutostart())
	if got := c.Check(context.Background()); got.Status != health.StatusUp || len(got.Details) != 6 {
		t.Errorf("%+v", got)
	}
}
