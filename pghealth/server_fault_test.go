package pghealth_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

func TestExpiredCertificate(t *testing.T) {
	t.Parallel()
	expired := fault.NewCertificate(t, time.Now().Add(-time.Hour))
	fresh := fault.NewCertificate(t, time.Now().Add(time.Hour))
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(expired.PEM)
	trusted.AppendCertsFromPEM(fresh.PEM)
	var shown atomic.Pointer[tls.Certificate]
	shown.Store(&expired.Server().Certificates[0])
	url := pgserver.Database(t)
	server := fault.NewProxy(t, url, fault.Options{TLS: &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return shown.Load(), nil },
	}})
	pool := newPool(t, url, dialProxy(server), func(cfg *pgxpool.Config) {
		cfg.ConnConfig.TLSConfig = &tls.Config{RootCAs: trusted, ServerName: "127.0.0.1"}
	})
	probe, log := newProbe(t, pool, pghealth.Options{Timeout: faultTimeout})
	both := serveBoth(t, pool, probe)
	both.want(want{http.StatusServiceUnavailable, "connectivity", "fail", "tls", "the database cannot be used"})
	if !strings.Contains(log.String(), "expired") {
		t.Errorf("log: %s", log)
	}
	shown.Store(&fresh.Server().Certificates[0])
	both.want(want{http.StatusOK, "connectivity", "pass", "", ""})
}

// A primary comes back as a standby: read-only, then promoted.
func TestDemotedPrimary(t *testing.T) {
	t.Parallel()
	server := fault.NewServer(t, fault.ServerOptions{})
	pool := newPool(t, server.URL())
	probe, _ := newProbe(t, pool, pghealth.Options{Timeout: faultTimeout})
	both := serveBoth(t, pool, probe)
	both.want(want{http.StatusOK, "connectivity", "pass", "", ""})

	server.Stop(t)
	server.Write(t, "standby.signal", "")
	server.Start(t)
	both.want(want{http.StatusServiceUnavailable, "connectivity", "fail", "read_only", "the session cannot write"})
	execute(t, connect(t, server.URL()), "select pg_promote()")
	both.want(want{http.StatusOK, "connectivity", "pass", "", ""})
}

// The server runs out of slots.
func TestMaxConnections(t *testing.T) {
	t.Parallel()
	url := fault.NewServer(t, fault.ServerOptions{Settings: map[string]string{
		"max_connections": "8", "superuser_reserved_connections": "3", "max_wal_senders": "0",
	}}).URL()
	admin, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	if _, err := admin.Exec(t.Context(), "create role service login; create role other login"); err != nil {
		t.Fatal(err)
	}
	as := func(user string) func(*pgxpool.Config) {
		return func(cfg *pgxpool.Config) { cfg.ConnConfig.User = user }
	}
	pool := newPool(t, url, as("service"))
	probe, _ := newProbe(t, pool, pghealth.Options{Timeout: faultTimeout})
	both := serveBoth(t, pool, probe)
	both.want(want{http.StatusOK, "connectivity", "pass", "", ""})

	acquire(t, pool)() // the pool's two
	var others []*pgx.Conn
	connect := func() {
		t.Helper()
		cfg := pool.Config().ConnConfig
		cfg.User = "other"
		conn, err := pgx.ConnectConfig(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(t.Context()) })
		others = append(others, conn)
	}
	connect()
	// The probe loses its connection, and another client takes the slot.
	if _, err := admin.Exec(t.Context(),
		"select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name like '%pghealth'",
	); err != nil {
		t.Fatal(err)
	}
	connect()
	both.want(want{
		http.StatusOK, "connectivity", "warn", "too_many_connections",
		"the server has no connection slot left for the probe; the pool's own connections are open",
	})
	idle := newPool(t, url, as("service"))
	unable, _ := newProbe(t, idle, pghealth.Options{Timeout: faultTimeout})
	serveBoth(t, idle, unable).want(want{
		http.StatusServiceUnavailable, "connectivity", "fail",
		"too_many_connections", "the database cannot be used",
	})

	for _, conn := range others {
		conn.Close(t.Context())
	}
	both.want(want{http.StatusOK, "connectivity", "pass", "", ""})
}
