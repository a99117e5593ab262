package pghealth_test

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/alexliesenfeld/health"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// A periodic check of somebody else that hangs: the library keeps it up for ever.
func TestStaleAfter(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	probe, _ := newProbe(t, pool, pghealth.Options{})
	hang, hanging := make(chan struct{}), make(chan struct{}, 1000)
	ran := make(chan struct{}, 1000)
	redis := health.Check{Name: "redis", Check: func(context.Context) error {
		select {
		case ran <- struct{}{}:
			return nil
		default: // once it is full
			hanging <- struct{}{}
			<-hang
			return nil
		}
	}}
	ran2 := cap(ran) - 3
	for range ran2 { // three times it is well
		ran <- struct{}{}
	}
	c := health.NewChecker(
		health.WithPeriodicCheck(time.Millisecond, 0, redis),
		health.WithCheck(probe.Checks()[1]),
		health.WithDisabledCache(), health.WithDisabledAutostart(),
	)
	unguarded := health.NewHandler(c, health.WithResultWriter(probe.ResultWriter()))
	const limit = 400 * time.Millisecond
	guarded := health.NewHandler(c, health.WithResultWriter(probe.ResultWriter()), health.WithMiddleware(pghealth.StaleAfter(limit)))
	off := health.NewHandler(c, health.WithResultWriter(probe.ResultWriter()), health.WithMiddleware(pghealth.StaleAfter(0)))

	// Never checked yet: unknown.
	r := get(t, pool, guarded)
	wantCode(t, r, http.StatusServiceUnavailable)
	if got := r.check(t, "redis"); got.Output != "not checked yet" {
		t.Error(r.body)
	}
	c.Start()
	<-hanging
	began := time.Now()
	wantCode(t, get(t, pool, guarded), http.StatusOK)
	r = wantEventually(t, pool, guarded, http.StatusServiceUnavailable)
	if took := time.Since(began); took < limit/2 {
		t.Errorf("stale after %v", took)
	}
	if got := r.check(t, "redis"); got.Status != "fail" || got.Category != "timeout" || got.Output == "" || got.Time.IsZero() {
		t.Error(r.body)
	}
	if got := r.check(t, "db:connectivity"); got.Status != "pass" {
		t.Error(r.body)
	}
	for _, h := range []http.Handler{unguarded, off} {
		r = get(t, pool, h)
		wantCode(t, r, http.StatusOK)
		if got := r.check(t, "redis"); got.Status != "pass" {
			t.Error(r.body)
		}
	}
	close(hang)
	wantEventually(t, pool, guarded, http.StatusOK)
	c.Stop()
}

// The probe's own checks, one by one: asked and periodic.
func TestChecksOneByOne(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	probe, _ := newProbe(t, pool, pghealth.Options{
		AllowReadOnly: true,
		Schema:        versionTable(0),
		Listener:      pghealth.ListenerFunc(func() (time.Time, error) { return time.Now(), nil }),
	})
	admin := connect(t, pool.Config().ConnString())
	execute(t, admin, "create table schema_version as select 0 as version, false as dirty")
	var names []string
	for _, check := range probe.Checks() {
		names = append(names, check.Name)
		if check.Timeout <= 0 || check.Timeout > 10*time.Second {
			t.Errorf("%s: timeout %v", check.Name, check.Timeout)
		}
		for kind, opt := range map[string]health.CheckerOption{
			"asked": health.WithCheck(check), "periodic": health.WithPeriodicCheck(time.Hour, 0, check),
		} {
			c := health.NewChecker(opt, health.WithDisabledAutostart())
			if kind == "periodic" {
				c.Start()
			}
			r := wantEventually(t, pool, handler(probe, c), http.StatusOK)
			if got := r.check(t, check.Name); len(r.Checks) != 1 || got.Time.IsZero() || got.Status != "pass" {
				t.Errorf("%s: %s", kind, r.body)
			}
			if check.Name != "db:serving" && r.check(t, check.Name).ObservedValue == nil {
				t.Errorf("no value: %s", r.body)
			}
			if kind == "periodic" {
				c.Stop()
			}
		}
	}
	want := []string{"db:serving", "db:connectivity", "db:saturation", "db:replicaLag", "db:schema", "db:listener"}
	if !slices.Equal(names, want) {
		t.Errorf("checks %v", names)
	}
}
