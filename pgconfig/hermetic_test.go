package pgconfig_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/page-builder/persistence/pgconfig"
)

// hostile is every variable that pgx reads, and ours.
var hostile = []string{
	"PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGPASSFILE", "PGAPPNAME", "PGCONNECT_TIMEOUT",
	"PGSSLMODE",
	"PGSSLKEY", "PGSSLCERT", "PGSSLCERTMODE", "PGSSLSNI", "PGSSLROOTCERT", "PGSSLPASSWORD", "PGSSLNEGOTIATION",
	"PGTARGETSESSIONATTRS", "PGSERVICE", "PGSERVICEFILE", "PGTZ", "PGOPTIONS", "PGMINPROTOCOLVERSION",
	"PGMAXPROTOCOLVERSION",
	"PGCHANNELBINDING", "PGREQUIREAUTH", "PGKRBSRVNAME", "APP_ENV", "DATABASE_URL", "DATABASE_URL_FILE",
	"DATABASE_PASSWORD_FILE",
	"DIRECT_DATABASE_URL", "DATABASE_REPLICA_URLS", "DATABASE_POOL_MAX_CONNS", "DATABASE_APPLICATION_NAME", "USER",
}

// outcome is everything that a connection depends on, as text.
type outcome struct {
	URL, Direct, ConnString, Host, Database, User, Password, ServerName string
	Port                                                                uint16
	Fallbacks                                                           int
	Validates, InsecureTLS                                              bool
	Settings                                                            map[string]string
	Report                                                              []pgconfig.Setting
	SSLCertMode, SSLNegotiation, ChannelBinding, RequireAuth            string
	MinProtocol, MaxProtocol                                            string
}

func outcomeOf(t *testing.T, environ env) outcome {
	t.Helper()
	cfg := load(t, environ, "/no/such/file")
	pc, err := cfg.PoolConfig()
	if err != nil {
		t.Fatal(err)
	}
	direct, err := cfg.DirectConfig()
	if err != nil {
		t.Fatal(err)
	}
	cc := pc.ConnConfig
	o := outcome{
		URL: cfg.URL().Reveal(), Direct: direct.Host, Host: cc.Host, Database: cc.Database, User: cc.User,
		Password: cc.Password,
		Port:     cc.Port, Fallbacks: len(cc.Fallbacks), Validates: cc.ValidateConnect != nil,
		Settings:    cc.RuntimeParams,
		Report:      cfg.Report(),
		SSLCertMode: cc.SSLCertMode, SSLNegotiation: cc.SSLNegotiation, ChannelBinding: cc.ChannelBinding,
		RequireAuth: cc.RequireAuth,
		MinProtocol: cc.MinProtocolVersion, MaxProtocol: cc.MaxProtocolVersion,
	}
	if cc.TLSConfig != nil {
		o.ServerName, o.InsecureTLS = cc.TLSConfig.ServerName, cc.TLSConfig.InsecureSkipVerify
	}
	return o
}

// TestHermetic loads the same in a clean and in a hostile environment of the process. It is not
// parallel, because it changes the environment.
func TestHermetic(t *testing.T) {
	environs := map[string]env{
		"elsewhere": {"DATABASE_URL": "postgres://app:p@db.example/shop"},
		"here":      {"DATABASE_URL": "postgres://app@localhost/shop", "APP_ENV": "test"},
		"socket":    {"DATABASE_URL": "postgres://app@/shop?host=/run/pg"},
		"variables": {"PGHOST": "localhost", "PGDATABASE": "shop", "PGUSER": "app"},
	}
	clean := map[string]outcome{}
	for _, name := range append(hostile, "HOME") {
		t.Setenv(name, "")
		if err := os.Unsetenv(name); err != nil { // Setenv restores it at the end of the test
			t.Fatal(err)
		}
	}
	for name, environ := range environs {
		clean[name] = outcomeOf(t, environ)
	}

	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, ".postgresql"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		".pgpass", ".pg_service.conf", ".postgresql/root.crt", ".postgresql/postgresql.crt",
		".postgresql/postgresql.key",
	} {
		write(t, filepath.Join(home, name), "*:*:*:*:stolen\n")
	}
	t.Chdir(home)
	write(t, ".env", "DATABASE_POOL_MAX_CONNS=99\n")
	t.Setenv("HOME", home)
	for _, name := range hostile {
		t.Setenv(name, "hostile")
	}
	for name, environ := range environs {
		if diff := cmp.Diff(clean[name], outcomeOf(t, environ)); diff != "" {
			t.Errorf("%s: the environment of the process got in:\n%s", name, diff)
		}
	}
	if _, err := pgconfig.LoadFrom(pgconfig.Source{}); err == nil {
		t.Error("an empty source made a configuration")
	}
}
