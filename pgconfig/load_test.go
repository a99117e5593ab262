package pgconfig_test

import (
	"strings"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgconfig"
)

func TestDefaults(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name        string
		environ     env
		environment pgconfig.Environment
		maxConns    int32
		statement   time.Duration
		sslmode     string
	}{
		{
			"production",
			env{"APP_ENV": "production", "DATABASE_URL": "postgres://u:p@db/d"},
			pgconfig.Production, 10,
			30 * time.Second, "verify-full",
		},
		{
			"staging",
			env{"APP_ENV": "staging", "DATABASE_URL": "postgres://u:p@db/d"},
			pgconfig.Staging, 10,
			30 * time.Second, "verify-full",
		},
		{
			"unset, elsewhere",
			env{"DATABASE_URL": "postgres://u:p@db/d"},
			pgconfig.Production, 10, 30 * time.Second,
			"verify-full",
		},
		{
			"unset, one host elsewhere",
			env{"DATABASE_URL": "postgres://u:p@localhost,db/d"},
			pgconfig.Production, 10,
			30 * time.Second, "verify-full",
		},
		{
			"unset, direct elsewhere", env{
				"DATABASE_URL":        "postgres://u:p@localhost/d",
				"DIRECT_DATABASE_URL": "postgres://u:p@db/d",
			}, pgconfig.Production, 10, 30 * time.Second, "prefer",
		},
		{
			"unset, replica elsewhere", env{
				"DATABASE_URL":          "postgres://u:p@localhost/d",
				"DATABASE_REPLICA_URLS": "postgres://u:p@db/d",
			}, pgconfig.Production, 10, 30 * time.Second, "prefer",
		},
		{
			"unset, localhost",
			env{"DATABASE_URL": "postgres://u:p@localhost/d"},
			pgconfig.Production, 10,
			30 * time.Second, "prefer",
		},
		{
			"unset, IPv4 loopback",
			env{"DATABASE_URL": "postgres://u:p@127.0.0.9/d"},
			pgconfig.Production, 10,
			30 * time.Second, "prefer",
		},
		{
			"unset, IPv6 loopback",
			env{"DATABASE_URL": "postgres://u:p@[::1]:5433/d"},
			pgconfig.Production, 10,
			30 * time.Second, "prefer",
		},
		{
			"unset, socket",
			env{"DATABASE_URL": "postgres://postgres@/d?host=/dev/shm/x"},
			pgconfig.Production, 10,
			30 * time.Second, "prefer",
		},
		{
			"unset, socket in the authority",
			env{"DATABASE_URL": "postgres://postgres@%2Fdev%2Fshm%2Fx/d"},
			pgconfig.Production, 10, 30 * time.Second, "prefer",
		},
		{
			"development elsewhere",
			env{"APP_ENV": "development", "DATABASE_URL": "postgres://u:p@db/d"},
			pgconfig.Development, 4, 60 * time.Second, "prefer",
		},
		{
			"test",
			env{"APP_ENV": "test", "DATABASE_URL": "postgres://u:p@db/d"},
			pgconfig.Test, 4, 60 * time.Second,
			"prefer",
		},
		{
			"production on a socket",
			env{"APP_ENV": "production", "DATABASE_URL": "postgres://u@/d?host=/run/pg"},
			pgconfig.Production, 10, 30 * time.Second, "prefer",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cfg := load(t, test.environ)
			equal(t, "environment", cfg.Environment, test.environment)
			equal(t, "MaxConns", cfg.MaxConns, test.maxConns)
			equal(t, "StatementTimeout", cfg.StatementTimeout, test.statement)
			if url := cfg.URL().Reveal(); !strings.Contains(url, "sslmode="+test.sslmode) {
				t.Errorf("want sslmode=%s in %s", test.sslmode, url)
			}
		})
	}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	for _, appEnv := range []string{"", "development", "test", "staging", "production"} {
		text := refused(t, pgconfig.Source{Environ: env{"APP_ENV": appEnv, "PGUSER": "u", "HOME": "/root"}})
		for _, want := range []string{
			"DATABASE_URL is not set",
			"DATABASE_URL=postgres://app:PASSWORD@localhost:5432/app", "https://",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("APP_ENV=%s: no %q in %q", appEnv, want, text)
			}
		}
	}
	text := refused(t, pgconfig.Source{Prefix: "ANALYTICS", Environ: env{
		"DATABASE_URL": "postgres://u:p@localhost/d",
		"PGHOST":       "localhost", "PGDATABASE": "d",
	}})
	if !strings.Contains(text, "ANALYTICS_DATABASE_URL is not set: set it") {
		t.Error(text)
	}
}

// TestNoHost: a missing host means this machine, but only in development.
func TestNoHost(t *testing.T) {
	t.Parallel()
	for _, connection := range []env{
		{"PGDATABASE": "d", "PGUSER": "u"},
		{"DATABASE_URL": "postgres://u@/d"},
		{"DATABASE_URL": "postgres://u@/d?sslmode=prefer"},
	} {
		for appEnv, want := range map[string]string{"": "", "production": "", "development": "localhost"} {
			environ := env{"APP_ENV": appEnv}
			for k, v := range connection {
				environ[k] = v
			}
			if want == "" {
				if text := refused(t, pgconfig.Source{Environ: environ}); !strings.Contains(text, "names no host") {
					t.Error(text)
				}
				continue
			}
			equal(t, "URL", load(t, environ).URL().Reveal(), "postgres://u@localhost:5432/d?sslmode=prefer")
		}
	}
}

func TestPrefix(t *testing.T) {
	t.Parallel()
	environ := env{
		"APP_ENV": "test", "DATABASE_URL": "postgres://u:p@main/d", "ANALYTICS_DATABASE_URL": "postgres://a@stats/s",
		"ANALYTICS_DATABASE_POOL_MAX_CONNS": "7", "DATABASE_POOL_MAX_CONNS": "3", "PGPASSWORD": "main's",
		"PGHOST":                        "main",
		"ANALYTICS_DIRECT_DATABASE_URL": "postgres://a@direct/s",
	}
	for _, prefix := range []string{"ANALYTICS", "ANALYTICS_"} {
		cfg, err := pgconfig.LoadFrom(pgconfig.Source{Prefix: prefix, Environ: environ})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "URL", cfg.URL().Reveal(), "postgres://a@stats:5432/s?sslmode=prefer")
		equal(t, "DirectURL", cfg.DirectURL().Reveal(), "postgres://a@direct:5432/s?sslmode=prefer")
		equal(t, "MaxConns", cfg.MaxConns, 7)
		equal(t, "environment", cfg.Environment, pgconfig.Test)
		equal(t, "source", setting(t, cfg, "ANALYTICS_DATABASE_POOL_MAX_CONNS").Source, "environment")
	}
	environ["ANALYTICS_DATABASE_POOL_MAX_CONNS"] = "many"
	if text := refused(t, pgconfig.Source{Prefix: "ANALYTICS", Environ: environ}); !strings.HasPrefix(text,
		"ANALYTICS_DATABASE_POOL_MAX_CONNS is not") {
		t.Error(text)
	}
}

func TestLibpq(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	write(t, home+"/.pgpass", "db:5432:shop:app:from the pass file\nlocalhost:5432:*:*:local\n")
	write(t, home+"/.pg_service.conf", "[web]\nhost=db\ndbname=shop\nuser=app\nsslmode=disable\n")
	for _, test := range []struct {
		name    string
		environ env
		url     string
	}{
		{
			"variables",
			env{
				"PGHOST": "db", "PGPORT": "5433", "PGDATABASE": "shop", "PGUSER": "app", "PGPASSWORD": "p@ss",
				"PGSSLMODE": "disable",
			},
			"postgres://app:p%40ss@db:5433/shop?sslmode=disable",
		},
		{
			"URL wins",
			env{
				"DATABASE_URL": "postgres://a:b@c/d", "PGHOST": "x", "PGDATABASE": "x", "PGUSER": "x",
				"PGPASSWORD": "x",
			},
			"postgres://a:b@c:5432/d?sslmode=prefer",
		},
		{
			"URL completed",
			env{
				"DATABASE_URL": "postgres://c", "PGPORT": "5433", "PGDATABASE": "d", "PGUSER": "a", "PGPASSWORD": "b",
				"PGSSLMODE": "allow",
			},
			"postgres://a:b@c:5433/d?sslmode=allow",
		},
		{
			"pass file",
			env{"DATABASE_URL": "postgres://app@db/shop?sslmode=disable", "HOME": home},
			"postgres://app:from%20the%20pass%20file@db:5432/shop?sslmode=disable",
		},
		{
			"pass file on a socket",
			env{"DATABASE_URL": "postgres://app@/shop?host=/run/pg", "HOME": home},
			"postgres://app:local@/shop?host=/run/pg&port=5432&sslmode=prefer",
		},
		{
			"named pass file",
			env{"DATABASE_URL": "postgres://app@db/shop?sslmode=disable", "PGPASSFILE": home + "/.pgpass"},
			"postgres://app:from%20the%20pass%20file@db:5432/shop?sslmode=disable",
		},
		{
			"service",
			env{"PGSERVICE": "web", "HOME": home},
			"postgres://app:from%20the%20pass%20file@db:5432/shop?sslmode=disable",
		},
		{
			"service wins over PG*",
			env{
				"PGSERVICE": "web", "PGSERVICEFILE": home + "/.pg_service.conf", "PGHOST": "localhost",
				"PGPASSWORD": "p",
			},
			"postgres://app:p@db:5432/shop?sslmode=disable",
		},
		{
			"user of the system",
			env{"DATABASE_URL": "postgres://localhost/d", "USER": "me"},
			"postgres://me@localhost:5432/d?sslmode=prefer",
		},
		{
			"keyword=value",
			env{"DATABASE_URL": `host=db dbname = shop user=app password='it\'s two words' port=1 sslmode=disable`},
			"postgres://app:it%27s%20two%20words@db:1/shop?sslmode=disable",
		},
		{
			"port without a host",
			env{"DATABASE_URL": "port=6000 user=a dbname=d", "PGHOST": "c"},
			"postgres://a@c:6000/d?sslmode=prefer",
		},
		{
			"empty user",
			env{"DATABASE_URL": "user='' host=c dbname=d", "PGUSER": "a", "USER": "b"}, // psql takes b too
			"postgres://b@c:5432/d?sslmode=prefer",
		},
		{
			"empty parameters",
			env{
				"DATABASE_URL": "postgres://a:b@c/d?options=&service=&sslmode=", "PGOPTIONS": "-c jit=off",
				"PGSERVICE": "none", "PGSSLMODE": "disable",
			},
			"postgres://a:b@c:5432/d?sslmode=prefer",
		},
		{
			"several hosts",
			env{"DATABASE_URL": "postgres://a:b@c:1,d:2/e?target_session_attrs=read-write&sslmode=disable"},
			"postgres://a:b@c:1,d:2/e?sslmode=disable&target_session_attrs=read-write",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.environ["APP_ENV"] = "development"
			cfg := load(t, test.environ)
			equal(t, "URL", cfg.URL().Reveal(), test.url)

			// The URL holds everything: parsing it again gives the same result.
			again, err := pgconfig.LoadFrom(pgconfig.Source{Environ: env{
				"APP_ENV":      "development",
				"DATABASE_URL": cfg.URL().Reveal(),
			}})
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "URL again", again.URL().Reveal(), test.url)
		})
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	url, password := file(t, "url", "postgres://app:hidden@db/shop\n"), file(t, "password", "  s3cret/@\n")
	cfg := load(t, env{"DATABASE_URL_FILE": url, "DIRECT_DATABASE_URL": "postgres://app:own@db2/shop"})
	equal(t, "URL", cfg.URL().Reveal(), "postgres://app:hidden@db:5432/shop?sslmode=verify-full&sslrootcert=system")
	equal(t, "source", setting(t, cfg, "DATABASE_URL").Source, "file "+url)

	cfg = load(t, env{
		"DATABASE_URL": "postgres://app@db/shop", "DATABASE_PASSWORD_FILE": password,
		"DATABASE_REPLICA_URLS": "postgres://app@r1,r2/shop, postgres://ro:x@r3/shop",
	})
	equal(t, "URL", cfg.URL().Reveal(),
		"postgres://app:s3cret%2F%40@db:5432/shop?sslmode=verify-full&sslrootcert=system")
	equal(t, "SecretFile", cfg.SecretFile().Path(), password)
	equal(t, "replicas", len(cfg.ReplicaURLs()), 2)
	marked := load(t, env{
		"DATABASE_URL": "postgres://app@db/shop", "DATABASE_PASSWORD_FILE": file(t, "p", "\ufeffword\r\n"),
	})
	equal(t, "URL", marked.URL().Reveal(), "postgres://app:word@db:5432/shop?sslmode=verify-full&sslrootcert=system")
	equal(t, "first replica", cfg.ReplicaURLs()[0].Reveal(),
		"postgres://app:s3cret%2F%40@r1:5432,r2:5432/shop?sslmode=verify-full&sslrootcert=system")
	equal(t, "second replica", cfg.ReplicaURLs()[1].Reveal(),
		"postgres://ro:x@r3:5432/shop?sslmode=verify-full&sslrootcert=system")

	for want, environ := range map[string]env{
		"DATABASE_URL and DATABASE_URL_FILE are both set": {
			"DATABASE_URL":      "postgres://a:b@localhost/d",
			"DATABASE_URL_FILE": url,
		},
		"has a password, and DATABASE_PASSWORD_FILE is set too": {
			"DATABASE_URL":           "postgres://a:b@localhost/d",
			"DATABASE_PASSWORD_FILE": password,
		},
		"DATABASE_URL_FILE names a file that does not exist":    {"DATABASE_URL_FILE": url + "x"},
		"DATABASE_URL_FILE holds a URL, not the path of a file": {"DATABASE_URL_FILE": "postgres://a:b@localhost/d"},
		"DATABASE_URL_FILE names a file that is empty": {"DATABASE_URL_FILE": file(t,
			"empty", "\n")},
		"DATABASE_URL_FILE names a file that cannot be read": {"DATABASE_URL_FILE": t.TempDir()},
		"URL_FILE names a file that cannot be read: name a file of text that holds": {"DATABASE_URL_FILE": file(t,
			"log", strings.Repeat("x", 65<<10))},
		"names a file in sslkey that cannot be " +
			"read": {"DATABASE_URL": "postgres://a:b@db/d?sslcert=" + url + "&sslkey=" + url +
			"/below"},
		"DATABASE_PASSWORD_FILE names a file that does not " +
			"exist": {"DATABASE_URL": "postgres://a@localhost/d", "DATABASE_PASSWORD_FILE": password + "x"},
		"PGSERVICE names a service, but the service file cannot be read": {"PGSERVICE": "web"},
		"PGSERVICE names a service that the service file does not have": {
			"PGSERVICE":     "web",
			"PGSERVICEFILE": file(t, "services", "[other]\nhost=x\n"),
		},
		"names a service which has a parameter that is not known": {
			"PGSERVICE":     "web",
			"PGSERVICEFILE": file(t, "services", "[web]\nhst=x\n"),
		},
		"DATABASE_URL_FILE is the address of another database, MySQL": {"DATABASE_URL_FILE": file(t,
			"url", "mysql://a:b@c/d")},
		"names a file in sslrootcert that does not " +
			"exist": {"DATABASE_URL": "postgres://a:b@db/d?sslrootcert=/nothing"},
		"cannot be used: unable to add CA to cert pool: check sslrootcert, " +
			"ss": {"DATABASE_URL": "postgres://a:b@db/d?sslrootcert=" + url},
	} {
		if text := refused(t, pgconfig.Source{Environ: environ}); !strings.Contains(text, want) {
			t.Errorf("want %q in %q", want, text)
		}
	}
}

// TestLibpqProblems: a problem with a PG* variable names that variable.
func TestLibpqProblems(t *testing.T) {
	t.Parallel()
	for want, environ := range map[string]env{
		"PGSSLMODE has a value that does not exist: write one of " +
			"disable,": {"PGSSLMODE": "yes"},
		"PGCONNECT_TIMEOUT is not a number of seconds: correct it, or take it out": {"PGCONNECT_TIMEOUT": "5s"},
		"PGPORT is not a number from 1 to " +
			"65535": {"PGPORT": "5432a"},
		"PGPORT has a different number of ports than PGHOST has " +
			"hosts": {
			"DATABASE_URL": "user=u dbname=d", "PGHOST": "a,b",
			"PGPORT": "1,2,3",
		},
		"DATABASE_URL names a service that the service file does not " +
			"have": {"DATABASE_URL": "service=web", "PGSERVICEFILE": file(t,
			"services", "[other]\nhost=x\n")},
		"DATABASE_URL has a value for target_session_attrs that does not exist: write one of any, " +
			"read-write": {
			"DATABASE_URL":         "postgres://u@localhost/d?target_session_attrs=rw",
			"PGTARGETSESSIONATTRS": "any",
		},
	} {
		if environ["DATABASE_URL"] == "" {
			environ["DATABASE_URL"] = "postgres://u@localhost/d"
		}
		if text := refused(t, pgconfig.Source{Environ: environ}); !strings.HasPrefix(text, want) ||
			strings.Contains(text, "\n") {
			t.Errorf("want %q, got %q", want, text)
		}
	}
}

// TestAllAtOnce: one run shows everything that is wrong, in the order of the table.
func TestAllAtOnce(t *testing.T) {
	t.Parallel()
	text := refused(t, pgconfig.Source{Environ: env{
		"APP_ENV": "prod", "DATABASE_URL": "postgres://u:p@db:99999/?sslmode=require&color=red",
		"DIRECT_DATABASE_URL":     "mysql://x",
		"DATABASE_POOL_MAX_CONNS": "-1", "DATABASE_ACQUIRE_TIMEOUT": "5", "DATABASE_LOCK_TIMEOUT": "-5s",
		"DATABASE_PGBOUNCER":         "maybe",
		"DATABASE_STATEMENT_TIMEOUT": "1000h", "DATABASE_CONNECT_TIMEOUT": "soon",
	}})
	want := []string{
		"APP_ENV is not one of development, test, staging and production: did you mean production?",
		"DATABASE_URL has the parameter color, which is not known",
		"DATABASE_URL has a port that is not a number from 1 to 65535",
		"DATABASE_URL names no database",
		"DATABASE_URL connects to db with sslmode=require, which does not verify the server",
		"DIRECT_DATABASE_URL is the address of another database, MySQL",
		"DATABASE_POOL_MAX_CONNS is not a whole number",
		"DATABASE_ACQUIRE_TIMEOUT has no unit",
		"DATABASE_CONNECT_TIMEOUT is not a duration",
		"DATABASE_STATEMENT_TIMEOUT is longer than 24 days",
		"DATABASE_LOCK_TIMEOUT is negative",
		"DATABASE_PGBOUNCER is not a switch",
	}
	got := strings.Split(text, "\n")
	if len(got) != len(want) {
		t.Fatalf("got %d problems, want %d:\n%s", len(got), len(want), text)
	}
	for i, w := range want {
		if !strings.HasPrefix(got[i], w) {
			t.Errorf("problem %d is %q, want %q", i, got[i], w)
		}
	}
}

func TestPoolSize(t *testing.T) {
	t.Parallel()
	const url = "postgres://u:p@db/d"
	cfg := load(t, env{"DATABASE_URL": url, "DATABASE_POOL_MAX_CONNS": "1"})
	equal(t, "MinIdleConns, by default 2", cfg.MinIdleConns, 1)
	for want, environ := range map[string]env{
		"DATABASE_POOL_MAX_CONNS is 0": {
			"DATABASE_URL":            url,
			"DATABASE_POOL_MAX_CONNS": "0",
		},
		"DATABASE_POOL_MIN_IDLE_CONNS is more than DATABASE_POOL_MAX_CONNS": {
			"DATABASE_URL":                 url,
			"DATABASE_POOL_MIN_IDLE_CONNS": "11",
		},
		"DATABASE_KEEPALIVE_COUNT is 0: write 1 or more, or DATABASE_KEEPALIVE": {
			"DATABASE_URL":             url,
			"DATABASE_KEEPALIVE_COUNT": "0",
		},
	} {
		if text := refused(t, pgconfig.Source{Environ: environ}); !strings.HasPrefix(text, want) {
			t.Errorf("want %q in %q", want, text)
		}
	}
}

// TestUnknownVariable: a misspelled name is noted. The value is not shown, because it may be
// secret.
func TestUnknownVariable(t *testing.T) {
	t.Parallel()
	cfg := load(t, env{
		"DATABASE_URL": "postgres://u:p@db/d", "DATABASE_POOL_MAX_CON": "hidden", "PGDATA": "x",
		"DIRECT_X": "hidden", "database_lock_timeout": "3s", "PGPASWORD": "hidden", "PGSYSCONFDIR": "/etc", "PG_MAJOR": "18",
	})
	equal(t, "lower case", setting(t, cfg, "database_lock_timeout").Note, "has no effect: write DATABASE_LOCK_TIMEOUT")
	equal(t, "a slip", setting(t, cfg, "PGPASWORD").Note, "has no effect: PGPASSWORD may be meant")
	equal(t, "PGSYSCONFDIR", setting(t, cfg, "PGSYSCONFDIR").Note, "has no effect: set PGSERVICEFILE")
	equal(t, "value of a slip", setting(t, cfg, "PGPASWORD").Value, "")
	for _, name := range []string{"DATABASE_POOL_MAX_CON", "DIRECT_X"} {
		s := setting(t, cfg, name)
		equal(t, "note", s.Note, "is not a variable of this package")
		equal(t, "source", s.Source, "environment")
		equal(t, "value", s.Value, "")
	}
	for _, s := range cfg.Report() {
		if s.Key == "PGDATA" || s.Key == "PG_MAJOR" {
			t.Error("PGDATA is libpq's matter, or the server's")
		}
	}
}
