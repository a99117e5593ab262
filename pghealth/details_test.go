package pghealth_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

type detailed struct {
	Status    string
	Checks    map[string][]check
	Databases map[string]struct {
		Host, Database, User, ServerVersion string
		Port                                uint16
		SQLState                            map[string]string
		Pool                                struct{ Max, InUse, Idle, Acquires int }
		TimeoutMs                           int
	}
}

func details(t *testing.T, probe *pghealth.Probe, pool *pgxpool.Pool, code int) (detailed, string) {
	t.Helper()
	got, header, body := accepting(t, probe.Details(), "*/*")
	if got != code || header.Get("Content-Type") != "application/health+json" {
		t.Errorf("%d %v", got, header)
	}
	var d detailed
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	secretFree(t, pool, body, false)
	return d, body
}

// Details has everything that Ready has, plus details that are not for the public.
func TestDetails(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t))
	probe, _ := newProbe(t, pool, pghealth.Options{})
	defer acquire(t, pool)()
	d, body := details(t, probe, pool, http.StatusOK)
	cfg := pool.Config().ConnConfig
	got := d.Databases["db"]
	if d.Status != "warn" || len(d.Checks) != 3 || len(d.Databases) != 1 || got.Host != cfg.Host ||
		got.Port != cfg.Port || got.Database != cfg.Database ||
		got.User != cfg.User || got.ServerVersion == "" || got.Pool.Max != 2 || got.Pool.InUse != 2 ||
		got.Pool.Acquires != 2 || got.TimeoutMs != 5000 {
		t.Error(body)
	}
	for name, h := range map[string]http.Handler{
		"ready": probe.Ready(), "live": probe.Live(),
		"own": handler(probe, checker(t, probe, well)),
	} {
		if _, _, body := accepting(t, h, "*/*"); strings.Contains(body, "databases") {
			t.Errorf("%s: %s", name, body)
		}
	}
	probe.Drain()
	if d, body := details(t, probe, pool,
		http.StatusServiceUnavailable); d.Checks["db:connectivity"][0].Status != "pass" {
		t.Errorf("a draining service still has a database: %s", body)
	}
}

// Details shows where a fault is and the server's code. The text goes to the log.
func TestDetailsOfAFault(t *testing.T) {
	t.Parallel()
	pool := newPool(t, pgserver.Database(t), func(cfg *pgxpool.Config) { cfg.ConnConfig.Database = "no_such_database" })
	probe, log := newProbe(t, pool, pghealth.Options{})
	d, body := details(t, probe, pool, http.StatusServiceUnavailable)
	got := d.Databases["db"]
	if got.SQLState["db:connectivity"] != "3D000" || got.Database != "no_such_database" || got.ServerVersion != "" {
		t.Error(body)
	}
	if !strings.Contains(log.String(), "does not exist") || strings.Contains(body, "does not exist") {
		t.Errorf("%s; log: %s", body, log)
	}
}

// Details describes the probe's connection only while it is open.
func TestDetailsOfTheConnection(t *testing.T) {
	t.Parallel()
	server := fault.NewServer(t, fault.ServerOptions{TCP: true})
	pool := newPool(t, strings.Replace(server.URL(), "sslmode=disable", "sslmode=prefer", 1))
	if pool.Config().ConnConfig.TLSConfig == nil {
		t.Fatal("the pool does not try TLS")
	}
	probe, _ := newProbe(t, pool, pghealth.Options{})
	for _, test := range []struct {
		code int
		open bool
	}{{http.StatusOK, true}, {http.StatusServiceUnavailable, false}} {
		if test.code != http.StatusOK {
			server.Stop(t)
		}
		_, body := details(t, probe, pool, test.code)
		_, _, page := accepting(t, probe.Details(), browserAccepts)
		if strings.Contains(body, `"tls":false`) != test.open || strings.Contains(body, `"tls":true`) ||
			strings.Contains(body, `"connected"`) != test.open {
			t.Error(body)
		}
		if strings.Contains(page, "TLS") || strings.Contains(page, ", not encrypted<") != test.open ||
			strings.Contains(page, "<dd>open ") != test.open {
			t.Error(page)
		}
	}
}
