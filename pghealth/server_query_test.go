package pghealth_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/alexliesenfeld/health"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// A warning's query that hangs must not make the check of connectivity late, on the one connection
// they share.
func TestWarningsThatHangKeepTheTraffic(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	pool := newPool(t, url)
	probe, log := newProbe(t, pool, pghealth.Options{Timeout: faultTimeout, WarnConnections: 1, AllowReadOnly: true})
	both := serveBoth(t, pool, probe)
	both.want(want{http.StatusOK, "connectivity", "pass", "", ""})
	blocker := connect(t, url)
	// Not by LOCK, which takes the tables under a view too: some of these are every database's.
	execute(t, blocker, "set allow_system_table_mods = on")
	execute(t, blocker, "begin")
	execute(t, blocker, "alter view pg_stat_activity set (security_barrier = true)")
	execute(t, blocker, "alter view pg_stat_wal_receiver set (security_barrier = true)")
	for _, name := range []string{"transactions", "replicaLag"} {
		both.want(want{http.StatusOK, name, "warn", "timeout", "the database does not answer in time"})
	}
	for range 4 { // one after another: those before have left their queries on the connection
		if r := both.get("/ready"); r.code != http.StatusOK || r.check(t, "db:connectivity").Status != "pass" {
			t.Fatal(r.body)
		}
	}
	execute(t, blocker, "rollback")
	both.want(want{http.StatusOK, "transactions", "pass", "", ""})
	if !strings.Contains(log.String(), "statement timeout") {
		t.Errorf("log: %s", log)
	}
}

// All checks of a probe come at the same time: a password that is wrong is tried once, and not
// again until it counts as new.
func TestChecksShareAFailedAttempt(t *testing.T) {
	t.Parallel()
	_, url := passwordServer(t)
	for name, test := range map[string]struct {
		maxAge       time.Duration
		least, limit int
	}{
		"recent": {time.Hour, 1, 1},
		"always": {-1, 5, 25},
	} {
		dials := make(chan struct{}, 100)
		pool := newPool(t, url, func(cfg *pgxpool.Config) { cfg.ConnConfig.Password = "wrong-" + password }, dialed(dials))
		// Without the warnings, Ready leaves those to be asked later.
		probe, _ := newProbe(t, pool, pghealth.Options{MaxAge: test.maxAge, WarnConnections: -1, WarnTransactionAge: -1, WarnIdleInTransaction: -1, Schema: versionTable(1)})
		for range 5 {
			wantCode(t, get(t, pool, probe.Ready()), http.StatusServiceUnavailable)
		}
		for _, check := range []health.Check{probe.Listener(), probe.Schema(), probe.Transactions(), probe.Connections(), probe.ReplicaLag()} {
			_ = check.Check(t.Context())
		}
		if n := len(dials); n < test.least || n > test.limit {
			t.Errorf("%s: %d attempts for 5 probes and 5 checks", name, n)
		}
	}
}

func TestConnectionsWarnFromAShareOn(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	for share, status := range map[float64]string{1e-9: "warn", 1: "pass"} {
		probe, _ := newProbe(t, pool, pghealth.Options{WarnConnections: share})
		r := get(t, pool, probe.Ready())
		wantCode(t, r, http.StatusOK)
		if c := r.check(t, "db:connections"); c.Status != status || *c.ObservedValue < 1 || r.Status != status {
			t.Errorf("%v: %s", share, r.body)
		}
	}
}
