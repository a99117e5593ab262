package pgconfig_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgconfig"
)

// TestHome: the certificates in ~/.postgresql are used unless others are named, as in libpq.
func TestHome(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	dir := filepath.Join(home, ".postgresql")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	certificate, key := keyPair(t, "")
	write(t, filepath.Join(dir, "postgresql.crt"), certificate)
	write(t, filepath.Join(dir, "postgresql.key"), key)
	write(t, filepath.Join(dir, "root.crt"), authority(t))
	write(t, filepath.Join(home, ".pgpass"), "*:*:*:*:from the file\n")

	cfg := load(t, env{"HOME": home, "DATABASE_URL": "postgres://u:own@db/d"})
	for _, want := range []string{
		"u:own@", "sslcert=" + dir + "/postgresql.crt", "sslkey=" + dir + "/postgresql.key",
		"sslrootcert=" + dir + "/root.crt",
	} {
		if url := strings.ReplaceAll(cfg.URL().Reveal(), "%2F", "/"); !strings.Contains(url, want) {
			t.Errorf("want %s in %s", want, url)
		}
	}
	pc, err := cfg.PoolConfig()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "certificates", len(pc.ConnConfig.TLSConfig.Certificates), 1)
}

// TestHalvesAtHome: half a pair in ~/.postgresql completes the other half, and nothing else.
func TestHalvesAtHome(t *testing.T) {
	t.Parallel()
	certificate, key := keyPair(t, "")
	other, otherKey := file(t, "o.crt", certificate), file(t, "o.key", key)
	homes := map[string]string{}
	for name, files := range map[string]map[string]string{
		"both": {"postgresql.crt": certificate, "postgresql.key": key},
		"crt":  {"postgresql.crt": certificate}, "key": {"postgresql.key": key},
	} {
		homes[name] = t.TempDir()
		for file, text := range files {
			write(t, filepath.Join(homes[name], ".postgresql", file), text)
		}
	}
	own := func(home, file string) string { return filepath.Join(homes[home], ".postgresql", file) }
	for _, test := range []struct{ home, query, cert, key string }{
		{"crt", "", "", ""},
		{"key", "", "", ""},
		{"both", "sslcert=" + other, other, own("both", "postgresql.key")},
		{"both", "sslkey=" + otherKey, own("both", "postgresql.crt"), otherKey},
		{"both", "sslcert=" + other + "&sslkey=" + otherKey, other, otherKey},
	} {
		cfg := load(t, env{
			"APP_ENV": "test", "HOME": homes[test.home], "DATABASE_URL": "postgres://u@db/d?sslmode=require&" + test.query,
		})
		want := "sslmode=require"
		if test.cert != "" {
			want = "sslcert=" + test.cert + "&sslkey=" + test.key + "&" + want
		}
		_, query, _ := strings.Cut(cfg.URL().Reveal(), "?")
		equal(t, test.home+" "+test.query, query, want)
		equal(t, "note", setting(t, cfg, "DATABASE_URL").Note, "")
	}
}

// TestEncryptedKey: sslpassword opens it, and a wrong one is not shown.
func TestEncryptedKey(t *testing.T) {
	t.Parallel()
	certificate, key := keyPair(t, "hunter2")
	files := "postgres://u:p@db/d?sslcert=" + file(t, "a.crt", certificate) + "&sslkey=" + file(t, "a.key", key) +
		"&sslpassword="
	pc, err := load(t, env{"DATABASE_URL": files + "hunter2"}).PoolConfig()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "certificates", len(pc.ConnConfig.TLSConfig.Certificates), 1)
	if text := refused(t, pgconfig.Source{Environ: env{"DATABASE_URL": files + "hunter3"}}); !strings.Contains(text,
		"cannot be used") || strings.Contains(text, "hunter3") {
		t.Error(text)
	}
}

// keyPair makes a certificate and its key, encrypted if there is a password.
func keyPair(t *testing.T, password string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block := &pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}
	if password != "" {
		//nolint:staticcheck // the only encryption that libpq's sslpassword and pgx know
		if block, err = x509.EncryptPEMBlock(rand.Reader, block.Type, secret, []byte(password),
			x509.PEMCipherAES256); err != nil {
			t.Fatal(err)
		}
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(block))
}

// TestUnusedFiles: the report lists a file that was named but has no effect.
func TestUnusedFiles(t *testing.T) {
	t.Parallel()
	for want, environ := range map[string]env{
		"servicefile is left out: no service is named": {
			"DATABASE_URL": "postgres://u@localhost/d?servicefile=/nothing",
		},
		"the pass file cannot be read: no password is sent": {
			"DATABASE_URL": "postgres://u@localhost/d", "PGPASSFILE": "/nothing",
		},
		"": {"DATABASE_URL": "postgres://u@localhost/d", "PGSERVICEFILE": "/nothing", "HOME": t.TempDir()},
	} {
		environ["APP_ENV"] = "test"
		equal(t, "note", setting(t, load(t, environ), "DATABASE_URL").Note, want)
	}
}
