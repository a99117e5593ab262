package pghealth_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// A server accepts every connection and never answers.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	hole := fault.NewProxy(t, url, fault.Options{})
	hole.Freeze(fault.Both)
	pool := newPool(t, url, dialProxy(hole))
	const timeout = 300 * time.Millisecond
	probe, _ := newProbe(t, pool, pghealth.Options{Timeout: timeout})
	began := time.Now()
	wantInTime(t, timeout, func() time.Duration {
		r := get(t, pool, probe.Ready())
		wantCode(t, r, http.StatusServiceUnavailable)
		if c := r.check(t, "db:connectivity"); c.Category != "timeout" {
			t.Error(r.body)
		}
		return r.took
	})
	// The same through an application's checker and over HTTP, with another probe.
	other, _ := newProbe(t, pool, pghealth.Options{Timeout: faultTimeout, AllowReadOnly: true})
	both := serveBoth(t, pool, other)
	both.want(want{
		http.StatusServiceUnavailable, "connectivity", "fail", "timeout",
		"the database does not answer in time",
	})
	both.want(want{
		http.StatusServiceUnavailable, "replicaLag", "warn", "timeout",
		"the database does not answer in time",
	})
	const connectLimit = 10 * time.Second // session.go
	if n := hole.Stats().Connections; n != 2 && time.Since(began) < connectLimit {
		t.Errorf("%d connections of two probes while the first one was still under way", n)
	}
	// Close does not wait for the black hole.
	began = time.Now()
	probe.Close()
	if took := time.Since(began); took > time.Second {
		t.Errorf("Close took %v", took)
	}
}

// wantInTime asks at least three times, until an answer comes in time. A machine busy with other
// tests may delay some.
func wantInTime(t *testing.T, timeout time.Duration, ask func() time.Duration) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for n := 1; ; n++ {
		took := ask()
		switch inTime := took <= timeout+100*time.Millisecond; {
		case inTime && n >= 3:
			return
		case !inTime && time.Now().After(deadline):
			t.Fatalf("%v, though the timeout is %v", took, timeout)
		}
	}
}

// A server stops answering on an open connection, and comes back.
func TestFrozenServer(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	proxy := fault.NewProxy(t, url, fault.Options{})
	pool := newPool(t, url, dialProxy(proxy))
	const timeout = 300 * time.Millisecond
	probe, _ := newProbe(t, pool, pghealth.Options{Timeout: timeout})
	wantEventually(t, pool, probe.Ready(), http.StatusOK)
	before := proxy.Stats().Connections

	proxy.Freeze(fault.Both)
	wantInTime(t, timeout, func() time.Duration {
		r := get(t, pool, probe.Ready())
		wantCode(t, r, http.StatusServiceUnavailable)
		if c := r.check(t, "db:connectivity"); c.Category != "timeout" {
			t.Error(r.body)
		}
		return r.took
	})
	// The probe gave up the query's connection at once and is opening a new one. It did not dial to
	// cancel the query.
	if s := proxy.Stats(); s.Connections != before+1 || s.Cancels != 0 {
		t.Errorf("%+v, %d connections before", s, before)
	}
	proxy.Heal()
	wantEventually(t, pool, probe.Ready(), http.StatusOK)
}

// While the database does not answer, one check says so in the log, however many ask it.
func TestOneRecordOfASilentServer(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	execute(t, connect(t, url), "create table schema_version as select 1 as version, false as dirty")
	proxy := fault.NewProxy(t, url, fault.Options{})
	pool := newPool(t, url, dialProxy(proxy))
	probe, log := newProbe(t, pool, pghealth.Options{
		Timeout: 300 * time.Millisecond, MaxReplicaLag: time.Minute, Schema: versionTable(1),
	})
	wantEventually(t, pool, probe.Ready(), http.StatusOK)
	before := len(log.lines())

	proxy.Freeze(fault.Both)
	for range 4 {
		r := get(t, pool, probe.Ready())
		wantCode(t, r, http.StatusServiceUnavailable)
		for _, name := range []string{"db:connectivity", "db:schema", "db:replicaLag"} {
			if c := r.check(t, name); c.Status != "fail" || c.Category != "timeout" {
				t.Errorf("%s: %s", name, r.body)
			}
		}
	}
	if got := log.lines()[before:]; len(got) != 1 || !strings.Contains(got[0], "db:connectivity") {
		t.Errorf("logged %q", got)
	}
	proxy.Heal()
	wantEventually(t, pool, probe.Ready(), http.StatusOK)
}
