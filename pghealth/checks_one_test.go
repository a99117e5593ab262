package pghealth_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/alexliesenfeld/health"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

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
