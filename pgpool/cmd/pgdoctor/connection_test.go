package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// A connection that breaks while questions are asked is a database that was not reached. What was
// learnt until then stays said.
func TestConnectionThatBreaks(t *testing.T) {
	t.Parallel()
	const said = "ok connection 127.0.0.1:"
	for name, tt := range map[string]struct {
		cut  string
		want []string
	}{
		"at the first question":         {"pg_backend_pid", []string{said}},
		"in front of the settings":      {"begin", []string{said, "ok version PostgreSQL", "ok role primary"}},
		"in the middle of the settings": {"'lock_timeout'", []string{said, "ok role primary"}},
		"where a setting is written":    {"set_config", []string{said, "ok role primary"}},
		"in front of the last question": {"clock_timestamp", []string{said, "ok settings 3 settings in effect", "ok connections"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := pgserver.Database(t)
			p := &proxy{cut: []byte(tt.cut)}
			address := p.start(t, database)
			code, output := examine(t, map[string]string{"DATABASE_URL": "postgres://postgres@" + address + "/" + nameOf(t, database) + "?sslmode=disable"})
			if code != notReached {
				t.Errorf("code %d, want %d", code, notReached)
			}
			contains(t, output, append(tt.want, "FAIL answer connect: ", "check host, port and firewall", "1 problem,")...)
		})
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	database := pgserver.Database(t)
	pair, root := certificate(t)
	for name, tt := range map[string]struct {
		query string
		code  int
		want  string
	}{
		"not verified":          {"sslmode=require", fine, "warn TLS TLS 1.3, but the server is not verified: sslmode=verify-full does"},
		"verified":              {"sslmode=verify-full&sslrootcert=" + root, fine, "ok TLS TLS 1.3, the server is verified"},
		"verified by authority": {"sslmode=verify-ca&sslrootcert=" + root, fine, "ok TLS TLS 1.3, the server is verified"},
		"another's certificate": {"sslmode=verify-full", notReached, "check sslmode and sslrootcert"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &proxy{tls: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}}
			address := p.start(t, database)
			code, output := examine(t, map[string]string{"DATABASE_URL": "postgres://postgres@" + address + "/" + nameOf(t, database) + "?" + tt.query})
			if code != tt.code {
				t.Errorf("code %d, want %d", code, tt.code)
			}
			contains(t, output, tt.want)
		})
	}
}

// certificate makes one for loopback that is its own authority, and writes it to a file.
func certificate(t *testing.T) (pair tls.Certificate, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.ParseIP("127.0.0.1")},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "root.crt")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}
