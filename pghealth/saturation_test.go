package pghealth_test

import (
	"net/http"
	"testing"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// The field's most repeated failure: probes that wait for the pool take every busy instance out at once.
func TestSaturatedPoolStaysReady(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	probe, log := newProbe(t, pool, pghealth.Options{})
	release := acquire(t, pool)

	r := get(t, pool, probe.Ready())
	wantCode(t, r, http.StatusOK)
	c := r.check(t, "db:saturation")
	if r.Status != "warn" || c.Status != "warn" || c.Category != "saturated" {
		t.Error(r.body)
	}
	if c.ObservedValue == nil || *c.ObservedValue != 2 || c.ObservedUnit != "connections" || c.Figures["max"] != 2 || c.Figures["idle"] != 0 {
		t.Error(r.body)
	}
	if c := r.check(t, "db:connectivity"); c.Status != "pass" {
		t.Error(r.body)
	}

	release()
	r = get(t, pool, probe.Ready())
	if c := r.check(t, "db:saturation"); r.Status != "pass" || c.Status != "pass" || c.Category != "" || *c.ObservedValue != 0 || c.Figures["idle"] != 2 {
		t.Error(r.body)
	}
	if n := len(log.lines()); n != 2 {
		t.Errorf("%d records for a warning and its end: %s", n, log)
	}
}
