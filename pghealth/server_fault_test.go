package pghealth_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
)

// certificate returns one for loopback, signed by itself, and its key.
func certificate(t *testing.T, end time.Time) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, IsCA: true,
		BasicConstraintsValid: true,
		NotBefore:             end.Add(-24 * time.Hour), NotAfter: end, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	var c, k bytes.Buffer
	_ = pem.Encode(&c, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	_ = pem.Encode(&k, &pem.Block{Type: "EC PRIVATE KEY", Bytes: secret})
	return c.Bytes(), k.Bytes()
}

func TestExpiredCertificate(t *testing.T) {
	t.Parallel()
	server := newServer(t, freePort(t), "ssl = on\n")
	trusted := x509.NewCertPool()
	install := func(end time.Time) {
		t.Helper()
		cert, key := certificate(t, end)
		trusted.AppendCertsFromPEM(cert)
		server.append(t, "server.crt", string(cert))
		server.append(t, "server.key", string(key))
	}
	install(time.Now().Add(-time.Hour))
	pool := newPool(t, server.start(t), func(cfg *pgxpool.Config) {
		cfg.ConnConfig.TLSConfig = &tls.Config{RootCAs: trusted, ServerName: "127.0.0.1"}
	})
	probe, log := newProbe(t, pool, pghealth.Options{Timeout: faultTimeout})
	both := serveBoth(t, pool, probe)
	both.want(want{http.StatusServiceUnavailable, "connectivity", "fail", "tls", "the database cannot be used"})
	if !strings.Contains(log.String(), "expired") {
		t.Errorf("log: %s", log)
	}

	server.stop(t)
	server.remove(t, "server.crt")
	server.remove(t, "server.key")
	install(time.Now().Add(time.Hour))
	server.start(t)
	both.want(want{http.StatusOK, "connectivity", "pass", "", ""})
}

// A primary that comes back as a standby: first without answering, then read-only, then promoted.
func TestDemotedPrimary(t *testing.T) {
	t.Parallel()
	server := newServer(t, 0, "")
	pool := newPool(t, server.start(t))
	probe, _ := newProbe(t, pool, pghealth.Options{Timeout: faultTimeout})
	both := serveBoth(t, pool, probe)
	both.want(want{http.StatusOK, "connectivity", "pass", "", ""})

	server.stop(t)
	server.append(t, "standby.signal", "")
	server.append(t, "postgresql.conf", "hot_standby = off\n")
	_, err := server.Start(t.Context()) // it runs, but nobody can make a database on it
	if err == nil || !strings.Contains(err.Error(), "57P03") {
		t.Fatalf("%v", err)
	}
	both.want(want{http.StatusServiceUnavailable, "connectivity", "fail", "starting_up", "the database cannot be used"})

	server.stop(t)
	server.append(t, "postgresql.conf", "hot_standby = on\n")
	url := server.start(t)
	both.want(want{http.StatusServiceUnavailable, "connectivity", "fail", "read_only", "the session cannot write"})

	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "select pg_promote()"); err != nil {
		t.Fatal(err)
	}
	both.want(want{http.StatusOK, "connectivity", "pass", "", ""})
}

// All slots of the server, as they run out.
func TestMaxConnections(t *testing.T) {
	t.Parallel()
	server := newServer(t, 0, "max_connections = 8\nsuperuser_reserved_connections = 3\nmax_wal_senders = 0\n")
	url := server.start(t)
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
	// The probe loses its connection, and somebody is faster.
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
	serveBoth(t, idle, unable).want(want{http.StatusServiceUnavailable, "connectivity", "fail",
		"too_many_connections", "the database cannot be used"})

	for _, conn := range others {
		conn.Close(t.Context())
	}
	both.want(want{http.StatusOK, "connectivity", "pass", "", ""})
}
