package pgconfig_test

import (
	"strings"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgconfig"
)

// TestUnsetEnvironment: without APP_ENV, a database on this machine may be a proxy to production.
// So the rules and defaults of production hold, and the report says so.
func TestUnsetEnvironment(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"postgres://u:p@127.0.0.1/d", "postgres://u:p@/d?host=/cloudsql/p:r:i"} {
		cfg := load(t, env{"DATABASE_URL": url})
		equal(t, "environment", cfg.Environment, pgconfig.Production)
		equal(t, "MaxConns", cfg.MaxConns, 10)
		if note := setting(t, cfg, "APP_ENV").Note; !strings.Contains(note, "is not set: production, because") {
			t.Errorf("note is %q", note)
		}
		cfg = load(t, env{"DATABASE_URL": url, "APP_ENV": "production"})
		equal(t, "note", setting(t, cfg, "APP_ENV").Note, "")
	}
	equal(t, "note", setting(t, load(t, env{"DATABASE_URL": "postgres://u:p@db/d"}), "APP_ENV").Note, "")

	cfg, err := pgconfig.Parse("postgres://u:p@127.0.0.1/d")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "environment of Parse", cfg.Environment, pgconfig.Development)
	equal(t, "note of Parse", setting(t, cfg, "APP_ENV").Note, "")
}

// TestOwnMachineInProduction: the report says that localhost is right with a proxy only.
func TestOwnMachineInProduction(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]bool{
		"postgres://u:p@localhost/d": true, "postgres://u:p@/d?host=/run/pg": false, "postgres://u:p@db/d": false,
	} {
		cfg := load(t, env{"DATABASE_URL": url, "APP_ENV": "production"})
		if got := strings.Contains(setting(t, cfg, "DATABASE_URL").Note, "is this machine itself"); got != want {
			t.Errorf("%s: %t", url, got)
		}
	}
	cfg := load(t, env{"DATABASE_URL": "postgres://u:p@localhost/d", "APP_ENV": "test"})
	equal(t, "note", setting(t, cfg, "DATABASE_URL").Note, "")
}

// TestIsSet: a set value is told from a default, wherever it was set.
func TestIsSet(t *testing.T) {
	t.Parallel()
	dotenv := file(t, "dotenv", "DATABASE_SLOW_QUERY=3s\n")
	cfg := load(t, env{
		"APP_ENV": "test", "DATABASE_URL": "postgres://u@localhost/d?lock_timeout=5s&options=-c%20statement_timeout%3D60s",
		"DATABASE_ACQUIRE_TIMEOUT": "5s", "PGCONNECT_TIMEOUT": "3",
	}, dotenv)
	for variable, source := range map[string]string{
		"DATABASE_ACQUIRE_TIMEOUT":   "environment", // equals the default, but was set
		"DATABASE_LOCK_TIMEOUT":      "lock_timeout in DATABASE_URL",
		"DATABASE_STATEMENT_TIMEOUT": "statement_timeout in options in DATABASE_URL",
		"DATABASE_CONNECT_TIMEOUT":   "PGCONNECT_TIMEOUT (environment)",
		"DATABASE_SLOW_QUERY":        dotenv,
		"APP_ENV":                    "environment",
		"DATABASE_URL":               "environment",
	} {
		equal(t, "source of "+variable, setting(t, cfg, variable).Source, source)
		equal(t, variable+" is set", cfg.IsSet(variable), true)
	}
	for _, variable := range []string{
		"DATABASE_IDLE_IN_TRANSACTION_TIMEOUT", "DATABASE_POOL_MAX_CONNS",
		"DIRECT_DATABASE_URL",
	} {
		equal(t, "source of "+variable, setting(t, cfg, variable).Source, "default")
		equal(t, variable+" is set", cfg.IsSet(variable), false)
	}
	equal(t, "another name is set", cfg.IsSet("DATABASE_TINT"), false)
	equal(t, "a zero Config has something set", pgconfig.Config{}.IsSet("DATABASE_URL"), false)

	cfg.IdleInTransactionTimeout = time.Minute
	equal(t, "the same value in code is set", cfg.IsSet("DATABASE_IDLE_IN_TRANSACTION_TIMEOUT"), false)
	cfg.IdleInTransactionTimeout = time.Hour
	equal(t, "another value in code is set", cfg.IsSet("DATABASE_IDLE_IN_TRANSACTION_TIMEOUT"), true)
	equal(t, "its source", setting(t, cfg, "DATABASE_IDLE_IN_TRANSACTION_TIMEOUT").Source, "code")

	prefixed, err := pgconfig.LoadFrom(pgconfig.Source{Prefix: "A", Environ: env{
		"A_DATABASE_URL": "postgres://u@localhost/d", "A_DATABASE_LOCK_TIMEOUT": "1s",
	}})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "with a prefix", prefixed.IsSet("DATABASE_LOCK_TIMEOUT"), true)
	prefixed.LockTimeout = time.Hour
	equal(t, "source with a prefix", setting(t, prefixed, "A_DATABASE_LOCK_TIMEOUT").Source, "code")
}

// TestEnvironmentNames: a misspelled APP_ENV is an error that suggests the right name.
func TestEnvironmentNames(t *testing.T) {
	t.Parallel()
	const known = "is not one of development, test, staging and production"
	for text, want := range map[string]string{
		"dev": known + ": did you mean development?", "Local": known + ": did you mean development?",
		"PROD": known + ": did you mean production?", "live": known + ": did you mean production?",
		"Production": known + ": did you mean production?", "TEST": known + ": did you mean test?",
		"ci": known,
	} {
		var e pgconfig.Environment
		if err := e.UnmarshalText([]byte(text)); err == nil || err.Error() != want || e != "" {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
