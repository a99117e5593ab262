package pghealth_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// An answer of Ready is given again for a moment, but not after Drain, and not to who wants every
// result anew.
func TestRecentAnswer(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	probe, _ := newProbe(t, pool, pghealth.Options{MaxAge: time.Hour})
	again := false
	for first := get(t, pool, probe.Ready()); !again; { // a machine may be busy for 100 ms
		next := get(t, pool, probe.Ready())
		wantCode(t, next, http.StatusOK)
		again = next.body == first.body
		first = next
	}
	release := acquire(t, pool)
	began := time.Now()
	for get(t, pool, probe.Ready()).Status != "warn" {
		if took := time.Since(began); took > 10*time.Second {
			t.Fatalf("the warning is not told after %v", took)
		}
	}
	release()
	probe.Drain()
	wantCode(t, get(t, pool, probe.Ready()), http.StatusServiceUnavailable)

	anew, _ := newProbe(t, pool, pghealth.Options{MaxAge: -1})
	seen := make(map[time.Time]bool)
	for range 3 {
		seen[get(t, pool, anew.Ready()).check(t, "db:connectivity").Time] = true
		time.Sleep(2 * time.Millisecond) // times are told in milliseconds
	}
	if len(seen) != 3 {
		t.Errorf("%d times in 3 answers", len(seen))
	}
}
