package pgconfig_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// authority makes a certificate for files that must hold one.
func authority(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestPoolConfig(t *testing.T) {
	t.Parallel()
	cfg, err := pgconfig.Parse("postgres://u:hidden@localhost/d")
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns, cfg.MinIdleConns = 9, 3
	cfg.MaxConnLifetime, cfg.MaxConnIdleTime, cfg.PingTimeout = time.Hour, 0, 3*time.Second
	cfg.ConnectTimeout = 4 * time.Second
	cfg.StatementTimeout, cfg.LockTimeout, cfg.IdleInTransactionTimeout = 500*time.Microsecond, 0, 90*time.Second
	cfg.ApplicationName = "web"
	pc, err := cfg.PoolConfig()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "MaxConns", pc.MaxConns, 9)
	equal(t, "MinIdleConns", pc.MinIdleConns, 3)
	equal(t, "MinConns", pc.MinConns, 0)
	equal(t, "MaxConnLifetime", pc.MaxConnLifetime, time.Hour)
	equal(t, "MaxConnLifetimeJitter", pc.MaxConnLifetimeJitter, 3*time.Minute)
	equal(t, "MaxConnIdleTime off is at least a year", pc.MaxConnIdleTime > 365*24*time.Hour, true)
	equal(t, "PingTimeout", pc.PingTimeout, 3*time.Second)
	cc := pc.ConnConfig
	equal(t, "ConnectTimeout", cc.ConnectTimeout, 4*time.Second)
	equal(t, "statement_timeout", cc.RuntimeParams["statement_timeout"], "1")
	equal(t, "lock_timeout", cc.RuntimeParams["lock_timeout"], "0")
	equal(t, "idle_in_transaction_session_timeout", cc.RuntimeParams["idle_in_transaction_session_timeout"], "90000")
	equal(t, "application_name", cc.RuntimeParams["application_name"], "web")
	equal(t, "Password", cc.Password, "hidden")
	if strings.Contains(pc.ConnString(), "hidden") {
		t.Error("the connection string has the password")
	}
	equal(t, "source of a changed setting", setting(t, cfg, "DATABASE_POOL_MAX_CONNS").Source, "code")
	equal(t, "source of another", setting(t, cfg, "DATABASE_POOL_PING_TIMEOUT").Value, "3s")

	another, err := cfg.PoolConfig()
	if err != nil {
		t.Fatal(err)
	}
	another.ConnConfig.RuntimeParams["application_name"] = "changed"
	equal(t, "the first's application_name", cc.RuntimeParams["application_name"], "web")

	cfg.MaxConns = 2
	if _, err := cfg.PoolConfig(); err == nil || !strings.Contains(err.Error(),
		"DATABASE_POOL_MAX_CONNS is 2 with 3 idle connections") {
		t.Errorf("got %v", err)
	}
	for _, err := range []error{
		second(pgconfig.Config{}.PoolConfig()), second(pgconfig.Config{}.DirectConfig()),
		second(pgconfig.Config{}.ReplicaConfigs()),
	} {
		if err == nil || !strings.Contains(err.Error(), "make it with Load, LoadFrom or Parse") {
			t.Errorf("a zero Config: %v", err)
		}
	}
}

// TestZeroConfig: a zero Config is empty and does not panic.
func TestZeroConfig(t *testing.T) {
	t.Parallel()
	var cfg pgconfig.Config
	equal(t, "URLs", cfg.URL().Reveal()+cfg.DirectURL().Reveal(), "")
	equal(t, "replicas and settings", len(cfg.ReplicaURLs())+len(cfg.Report()), 0)
	equal(t, "SecretFile", cfg.SecretFile() == nil, true)
	equal(t, "String", cfg.String(), "pgconfig.Config{not loaded}")
}

// TestFileIsGone: certificates are read again for each configuration.
func TestFileIsGone(t *testing.T) {
	t.Parallel()
	root := file(t, "root.crt", authority(t))
	cfg := load(t, env{
		"DATABASE_URL":          "postgres://u:p@localhost/d",
		"DATABASE_REPLICA_URLS": "postgres://u:p@db/d?sslrootcert=" + root,
	})
	if err := os.Remove(root); err != nil {
		t.Fatal(err)
	}
	if _, err := cfg.PoolConfig(); err != nil {
		t.Error(err)
	}
	if _, err := cfg.ReplicaConfigs(); err == nil || !strings.Contains(err.Error(),
		"DATABASE_REPLICA_URLS cannot be used: a file that it names was there") {
		t.Errorf("got %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestServer asks a server for the settings that arrived.
func TestServer(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: env{
		"DATABASE_URL": url, "DATABASE_APPLICATION_NAME": "it's me", "DATABASE_STATEMENT_TIMEOUT": "1m30s",
		"DATABASE_LOCK_TIMEOUT": "off",
		"DATABASE_REPLICA_URLS": url, "PGTZ": "Asia/Tokyo", "PGOPTIONS": "-c work_mem=7MB",
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"application_name": "it's me", "statement_timeout": "90s", "lock_timeout": "0",
		"idle_in_transaction_session_timeout": "1min",
		"timezone":                            "Asia/Tokyo", "work_mem": "7MB",
	}
	pc, err := cfg.PoolConfig()
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), pc)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for name, value := range want {
		var got string
		if err := pool.QueryRow(t.Context(), "select current_setting($1)", name).Scan(&got); err != nil {
			t.Fatal(err)
		}
		equal(t, name, got, value)
	}

	cc, err := cfg.DirectConfig()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(t.Context(), cc)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var got string
	if err := conn.QueryRow(t.Context(), "show statement_timeout").Scan(&got); err != nil {
		t.Fatal(err)
	}
	equal(t, "statement_timeout of a direct connection", got, "0")

	replicas, err := cfg.ReplicaConfigs()
	if err != nil || len(replicas) != 1 {
		t.Fatal(replicas, err)
	}
	equal(t, "database of the replica", replicas[0].ConnConfig.Database, pc.ConnConfig.Database)
}

// TestFormat: one line with the values that are not defaults, and a group for a log.
func TestFormat(t *testing.T) {
	t.Parallel()
	cfg := load(t, env{
		"APP_ENV": "test", "DATABASE_URL": "postgres://u:hidden@localhost/d?work_mem=1MB", "PGTZ": "UTC",
		"DATABASE_LOCK_TIMEOUT": "7s",
	})
	equal(t, "String", cfg.String(), "pgconfig.Config{postgres://u:****@localhost:5432/d"+
		"?options=-c%20timezone%3DUTC%20-c%20work_mem%3D1MB&sslmode=prefer APP_ENV=test DATABASE_LOCK_TIMEOUT=7s}")
	shown := map[string]string{}
	for _, attr := range cfg.LogValue().Group() {
		shown[attr.Key] = attr.Value.String()
	}
	equal(t, "a default", shown["DATABASE_SLOW_QUERY"], "200ms")
	equal(t, "a part", shown["DATABASE_URL timezone"], "UTC")
	if _, ok := shown["DIRECT_DATABASE_URL"]; ok || shown["DATABASE_LOCK_TIMEOUT"] != "7s" {
		t.Errorf("%v", shown)
	}
}

// TestLeast: the smallest values that make sense.
func TestLeast(t *testing.T) {
	t.Parallel()
	cfg := load(t, env{
		"DATABASE_URL": "postgres://u@localhost/d", "DATABASE_POOL_MAX_CONNS": "1", "DATABASE_POOL_MIN_IDLE_CONNS": "1",
		"DATABASE_KEEPALIVE_COUNT": "1",
	})
	pool, err := cfg.PoolConfig()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "MaxConns", pool.MaxConns, 1)
	equal(t, "MinIdleConns", pool.MinIdleConns, 1)
	equal(t, "KeepAliveCount", cfg.KeepAliveCount, 1)
}

// TestOneProblem: a value that cannot be read is not a second problem.
func TestOneProblem(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"DATABASE_POOL_MAX_CONNS", "DATABASE_KEEPALIVE_COUNT"} {
		text := refused(t, pgconfig.Source{Environ: env{"DATABASE_URL": "postgres://u@localhost/d", name: "many"}})
		equal(t, "error", text, name+" is not a whole number from 0 to 2147483647: write 10, for example")
	}
	longest := strings.Repeat("x", 64<<10)
	cfg := load(t, env{"DATABASE_URL": "postgres://u@localhost/d", "DATABASE_PASSWORD_FILE": file(t, "password",
		longest)})
	pool, err := cfg.PoolConfig()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "length", len(pool.ConnConfig.Password), len(longest))
}

// TestOrder: problems come in the order of the table of variables.
func TestOrder(t *testing.T) {
	t.Parallel()
	text := refused(t, pgconfig.Source{Environ: env{
		"DATABASE_URL":          "postgres://localhost/d",
		"DATABASE_LOCK_TIMEOUT": "soon",
	}})
	if !strings.HasPrefix(text, "DATABASE_URL names no") || !strings.Contains(text, "\nDATABASE_LOCK_TIMEOUT is not") {
		t.Error(text)
	}
	cfg := load(t, env{
		"DATABASE_URL": "postgres://u@localhost/d", "DATABASE_LOCK_TIMEOUT": "2147483647ms",
		"DATABASE_SLOW_QUERY": "0",
	})
	equal(t, "LockTimeout", cfg.LockTimeout, 2147483647*time.Millisecond)
	equal(t, "SlowQuery", setting(t, cfg, "DATABASE_SLOW_QUERY").Value, "off")
}

// TestPoolSizes: a program may set sizes that no pool can have.
func TestPoolSizes(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int32{{0, 0}, {-1, 0}, {3, -1}, {3, 4}} {
		cfg := load(t, env{"APP_ENV": "test", "DATABASE_URL": "postgres://u@localhost/d"})
		cfg.MaxConns, cfg.MinIdleConns = size[0], size[1]
		if _, err := cfg.PoolConfig(); err == nil || !strings.Contains(err.Error(), "DATABASE_POOL_MAX_CONNS is") {
			t.Errorf("%v: %v", size, err)
		}
	}
}

// TestBouncerURL: PgBouncer takes timezone as a startup parameter and refuses it in options.
func TestBouncerURL(t *testing.T) {
	t.Parallel()
	cfg := load(t, env{
		"APP_ENV": "development", "PGTZ": "UTC", "DATABASE_URL": "postgres://u@localhost/d?pgbouncer=true",
		"DATABASE_REPLICA_URLS": "postgres://u@localhost:5433/d",
		"DIRECT_DATABASE_URL":   "postgres://u@localhost:5434/d",
	})
	equal(t, "URL", cfg.URL().Reveal(), "postgres://u@localhost:5432/d?sslmode=prefer")
	equal(t, "replica's URL", cfg.ReplicaURLs()[0].Reveal(), "postgres://u@localhost:5433/d?sslmode=prefer")
	equal(t, "direct URL", cfg.DirectURL().Reveal(),
		"postgres://u@localhost:5434/d?options=-c%20timezone%3DUTC&sslmode=prefer")
	pc, err := cfg.PoolConfig()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "timezone", pc.ConnConfig.RuntimeParams["timezone"], "UTC")
}
