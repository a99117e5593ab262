package fault

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
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// Certificate is a certificate of localhost and 127.0.0.1 that is its own authority.
type Certificate struct {
	PEM    []byte
	KeyPEM []byte
	// File is the path of a file with PEM, for sslrootcert. It is removed when the test ends.
	File string
	pair tls.Certificate
	pool *x509.CertPool
}

// NewCertificate makes a certificate that is valid for a day until end. One that ends in the past
// has expired.
func NewCertificate(t pgserver.TB, end time.Time) *Certificate {
	t.Helper()
	c, err := newCertificate(end)
	if err == nil {
		err = c.write(t)
	}
	if err != nil {
		t.Fatalf("fault: certificate: %v", err)
	}
	return c
}

// Server returns the configuration of a server that has this certificate, for Options.TLS.
func (c *Certificate) Server() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c.pair}, MinVersion: tls.VersionTLS12}
}

// Client returns the configuration of a client that trusts this certificate alone.
func (c *Certificate) Client() *tls.Config {
	return &tls.Config{RootCAs: c.pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
}

func newCertificate(end time.Time) (*Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "localhost"},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    end.Add(-24 * time.Hour),
		NotAfter:     end,
		IsCA:         true,
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,

		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	c := &Certificate{
		PEM:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		KeyPEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
		pair:   tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		pool:   x509.NewCertPool(),
	}
	c.pool.AppendCertsFromPEM(c.PEM)
	return c, nil
}

func (c *Certificate) write(t pgserver.TB) error {
	dir, err := os.MkdirTemp("", "fault")
	if err != nil {
		return err
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c.File = filepath.Join(dir, "root.crt")
	return os.WriteFile(c.File, c.PEM, 0o600)
}
