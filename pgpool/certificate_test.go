package pgpool_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool"
)

func TestCertificate(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		until time.Time
		ok    bool
	}{
		"valid":   {time.Now().Add(time.Hour), true},
		"expired": {time.Now().Add(-time.Hour), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := database(t)
			p := through(t, config)
			certificate, authority := certificate(t, tt.until)
			p.tls = &tls.Config{Certificates: []tls.Certificate{certificate}}
			if err := p.start(); err != nil {
				t.Fatal(err)
			}
			config.ConnConfig.Host = "127.0.0.1" // a socket has no TLS
			config.ConnConfig.TLSConfig = &tls.Config{RootCAs: authority, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
			pool, err := pgpool.ConnectConfig(t.Context(), config, pgpool.WithLogger(nil))
			if tt.ok {
				if err != nil {
					t.Fatal(err)
				}
				defer pool.Close()
				nothingIsLeft(t, pool)
				return
			}
			var failed *pgpool.StartupError
			if !errors.As(err, &failed) || failed.Attempts != 1 || pgerr.Of(err) != pgerr.TLS || !strings.Contains(err.Error(), "check sslmode and sslrootcert") {
				t.Errorf("error is %v, want tls after one attempt, and what to do", err)
			}
		})
	}
}

// certificate makes one for loopback that is its own authority.
func certificate(t *testing.T, until time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.ParseIP("127.0.0.1")},
		NotBefore: until.Add(-24 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	authority := x509.NewCertPool()
	authority.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, authority
}

func TestNameThatDoesNotResolve(t *testing.T) {
	t.Parallel()
	config := parse(t, "postgres://app@pgpool.invalid/app?sslmode=disable")
	_, err := pgpool.ConnectConfig(t.Context(), config, pgpool.WithLogger(nil), pgpool.WithStartupTimeout(300*time.Millisecond))
	var failed *pgpool.StartupError
	if !errors.As(err, &failed) || pgerr.Of(err) != pgerr.DNS || !errors.Is(failed.Ended, context.DeadlineExceeded) || !strings.Contains(err.Error(), "check the host name") {
		t.Errorf("error is %v, want dns, tried until the budget ended, and what to do", err)
	}
}
