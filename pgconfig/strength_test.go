package pgconfig_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgconfig"
)

// TestStrength: the strongest source wins for each connection. A variable of the table beats PG*
// variables and services. Only the connection's own URL beats the variable.
func TestStrength(t *testing.T) {
	t.Parallel()
	services := file(t, "services", "[shop]\nconnect_timeout=30\noptions=-c statement_timeout=7s -c lock_timeout=8s\n")
	variables := env{
		"DATABASE_CONNECT_TIMEOUT": "3s", "DATABASE_STATEMENT_TIMEOUT": "30s", "DATABASE_APPLICATION_NAME": "shop",
		"DATABASE_LOCK_TIMEOUT": "4s",
	}
	libpq := env{
		"PGCONNECT_TIMEOUT": "20", "PGAPPNAME": "psqlapp", "PGOPTIONS": "-c statement_timeout=5s -c lock_timeout=1s",
	}
	service := env{"PGSERVICE": "shop", "PGSERVICEFILE": services}
	const url = "postgres://u@localhost/d"
	own := url + "?service=shop&servicefile=" + services
	for name, test := range map[string]struct {
		environ              []env
		main, replica        string // connect_timeout, statement_timeout, lock_timeout, application_name
		direct               string
		directURL, urlParams string
	}{
		"variables": {
			environ: []env{variables, libpq}, main: "3s 30000 4000 shop", replica: "3s 30000 4000 shop",
			direct: "3s 0 4000 shop",
		},
		"variables and a service": {
			environ: []env{variables, service}, main: "3s 30000 4000 shop", replica: "3s 30000 4000 shop",
			direct: "3s 0 4000 shop",
		},
		"PG*": {
			environ: []env{libpq}, main: "20s 5000 1000 psqlapp", replica: "20s 5000 1000 psqlapp",
			direct: "20s 0 1000 psqlapp",
		},
		"a service and PG*": {
			environ: []env{libpq, service}, main: "30s 7000 8000 psqlapp", replica: "30s 7000 8000 psqlapp",
			direct: "30s 0 8000 psqlapp",
		},
		"the URL": {
			environ: []env{libpq}, urlParams: "?lock_timeout=9s&connect_timeout=2", main: "2s 5000 9000 psqlapp",
			replica: "2s 5000 9000 psqlapp", direct: "2s 0 9000 psqlapp",
		},
		"a service of the direct URL": {
			directURL: own, main: "5s 60000 5000 ", replica: "5s 60000 5000 ", direct: "30s 7000 8000 ",
		},
		"variables and a service of the direct URL": {
			environ: []env{variables}, directURL: own, main: "3s 30000 4000 shop", replica: "3s 30000 4000 shop",
			direct: "3s 0 4000 shop",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			environ := env{
				"APP_ENV": "development", "DATABASE_URL": url + test.urlParams, "DIRECT_DATABASE_URL": url,
				"DATABASE_REPLICA_URLS": url,
			}
			if test.directURL != "" {
				environ["DIRECT_DATABASE_URL"] = test.directURL
			}
			for _, more := range test.environ {
				maps.Copy(environ, more)
			}
			cfg := load(t, environ)
			describe := func(timeout time.Duration, params map[string]string) string {
				return strings.Join([]string{
					timeout.String(), params["statement_timeout"], params["lock_timeout"], params["application_name"],
				}, " ")
			}
			pool := must[*pgxpool.Config](t)(cfg.PoolConfig())
			equal(t, "main", describe(pool.ConnConfig.ConnectTimeout, pool.ConnConfig.RuntimeParams), test.main)
			replica := must[[]*pgxpool.Config](t)(cfg.ReplicaConfigs())[0].ConnConfig
			equal(t, "replica", describe(replica.ConnectTimeout, replica.RuntimeParams), test.replica)
			direct, err := cfg.DirectConfig()
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "direct", describe(direct.ConnectTimeout, direct.RuntimeParams), test.direct)
		})
	}
}

// TestFallbackName: as in libpq, fallback_application_name yields to a name from any source.
func TestFallbackName(t *testing.T) {
	t.Parallel()
	const url = "postgres://u@localhost/d?fallback_application_name=fallback"
	services := file(t, "services", "[shop]\napplication_name=service\n")
	for want, environ := range map[string]env{
		"fallback": {"PGPORT": "1"},
		"libpq":    {"PGAPPNAME": "libpq"},
		"service":  {"PGSERVICE": "shop", "PGSERVICEFILE": services},
		"variable": {"DATABASE_APPLICATION_NAME": "variable", "PGAPPNAME": "libpq"},
	} {
		maps.Copy(environ, env{"APP_ENV": "test", "DATABASE_URL": url})
		cfg := load(t, environ)
		equal(t, "name", cfg.ApplicationName, want)
		if want == "libpq" {
			equal(t, "note", setting(t, cfg, "DATABASE_URL").Note,
				"fallback_application_name is left out: application_name is given elsewhere")
		}
	}
	for want, environ := range map[string]env{
		"fallback": {}, "libpq": {"PGAPPNAME": "libpq"}, "service": {"PGSERVICE": "shop", "PGSERVICEFILE": services},
	} {
		maps.Copy(environ, env{
			"APP_ENV": "test", "DATABASE_URL": "postgres://u@localhost/d", "DIRECT_DATABASE_URL": url,
			"DATABASE_REPLICA_URLS": url,
		})
		cfg := load(t, environ)
		equal(t, "replica", cfg.Replicas()[0].ApplicationName, want)
		direct := must[*pgx.ConnConfig](t)(cfg.DirectConfig())
		equal(t, "direct", direct.RuntimeParams["application_name"], want)
	}
}

// TestReplacedLimit: a value that a stronger variable replaces need not be valid.
func TestReplacedLimit(t *testing.T) {
	t.Parallel()
	environ := env{"APP_ENV": "test", "DATABASE_URL": "postgres://u@localhost/d", "PGCONNECT_TIMEOUT": "soon"}
	if text := refused(t, pgconfig.Source{Environ: environ}); !strings.Contains(text, "PGCONNECT_TIMEOUT is not") {
		t.Error(text)
	}
	environ["DATABASE_CONNECT_TIMEOUT"], environ["PGSSLMODE"] = "3s", "bogus"
	if text := refused(t, pgconfig.Source{Environ: environ}); !strings.Contains(text, "PGSSLMODE has a value") {
		t.Error(text)
	}
	delete(environ, "PGSSLMODE")
	equal(t, "ConnectTimeout", load(t, environ).ConnectTimeout, 3*time.Second)
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestOptionsOnce: options come from one source, as in libpq. The report lists the ignored ones.
func TestOptionsOnce(t *testing.T) {
	t.Parallel()
	services := file(t, "services", "[shop]\noptions=-c work_mem=7MB\n")
	const limit = "postgres://u@localhost/d?options=-c%20statement_timeout%3D5s"
	for _, test := range []struct {
		environ    env
		want, note string
	}{
		{
			env{"DATABASE_URL": limit, "PGOPTIONS": "-c search_path=evil -c work_mem=9MB"},
			"",
			"PGOPTIONS is left out: options are given already",
		},
		{
			env{"DATABASE_URL": limit, "PGSERVICE": "shop", "PGSERVICEFILE": services},
			"",
			"options of the service are left out: options are given already",
		},
		{
			env{
				"PGDATABASE": "d", "PGUSER": "u", "PGSERVICE": "shop", "PGSERVICEFILE": services, "PGOPTIONS": "-c jit=off",
			},
			"options=-c%20work_mem%3D7MB", "PGOPTIONS is left out: options are given already",
		},
	} {
		test.environ["APP_ENV"] = "test"
		cfg := load(t, test.environ)
		_, query, _ := strings.Cut(cfg.URL().Reveal(), "?")
		options, _, _ := strings.Cut(query, "sslmode=")
		equal(t, "options", strings.TrimSuffix(options, "&"), test.want)
		equal(t, "note", setting(t, cfg, "DATABASE_URL").Note, test.note)
	}
}

// TestPortOfAuthority: the parameter host replaces only the host. PGPORT is weaker than both.
func TestPortOfAuthority(t *testing.T) {
	t.Parallel()
	cfg := load(t, env{
		"APP_ENV": "test", "PGPORT": "6000", "DATABASE_URL": "postgres://u:p@localhost:5433/db?host=/tmp",
		"DATABASE_REPLICA_URLS": "postgres://u:p@localhost:5434/db?host=/tmp",
	})
	equal(t, "URL", cfg.URL().Reveal(), "postgres://u:p@/db?host=/tmp&port=5433&sslmode=prefer")
	equal(t, "replica", cfg.ReplicaURLs()[0].Reveal(), "postgres://u:p@/db?host=/tmp&port=5434&sslmode=prefer")
}

// TestClientCertificate: sslcert without a key means the authority's certificate only in a
// connection string, as in Prisma. A client certificate in libpq's sense never vouches for the
// server.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	certificate, key := keyPair(t, "")
	cert, keyFile, root := file(t, "c.crt", certificate), file(t, "c.key", key), file(t, "r.crt", authority(t))
	home := t.TempDir()
	write(t, home+"/.postgresql/postgresql.key", key)
	certHome := t.TempDir()
	write(t, certHome+"/.postgresql/postgresql.crt", certificate)
	services := file(t, "services", "[half]\nsslcert="+cert+"\n")
	const anybody = "DATABASE_URL has sslmode=verify-ca without an authority of its own in sslrootcert, which anybody's " +
		"certificate satisfies"
	const alone = "DATABASE_URL has a client certificate without a key: set PGSSLKEY or sslkey too"
	for name, test := range map[string]struct {
		environ env
		query   string
		want    string // in the URL, the note or the error
	}{
		"PGSSLCERT":             {env{"PGSSLCERT": cert}, "sslmode=verify-full", alone},
		"a service":             {env{"PGSERVICE": "half", "PGSERVICEFILE": services}, "sslmode=verify-full", alone},
		"PGSSLCERT without TLS": {env{"PGSSLCERT": cert, "APP_ENV": "test"}, "sslmode=disable", "sslcert is left out"},
		"a key in the home directory": {
			env{"PGSSLCERT": cert, "HOME": home},
			"sslmode=verify-full",
			"?sslcert=" + cert + "&sslkey=" + home + "/.postgresql/postgresql.key&sslmode=verify-full&" +
				"sslrootcert=system",
		},
		"a certificate in the home directory": {
			env{"PGSSLKEY": keyFile, "HOME": certHome},
			"sslmode=verify-full",
			"?sslcert=" + certHome + "/.postgresql/postgresql.crt&sslkey=" + keyFile,
		},
		"it does not verify": {
			env{"PGSSLCERT": cert, "HOME": home}, "sslmode=require", "which does not verify the server",
		},
		"halves":       {env{"PGSSLCERT": cert}, "sslkey=" + keyFile, "?sslcert=" + cert + "&sslkey=" + keyFile},
		"other halves": {env{"PGSSLKEY": keyFile}, "sslcert=" + cert, "?sslcert=" + cert + "&sslkey=" + keyFile},
		"a key alone":  {env{"PGSSLKEY": keyFile}, "", "sslkey is left out: there is no sslcert"},
		"Prisma":       {env{}, "sslmode=require&sslcert=" + root, "sslrootcert=" + root},
		"Prisma, and an authority": {
			env{}, "sslcert=" + cert + "&sslrootcert=" + root, "sslcert is left out: there is no sslkey",
		},
		"the system's roots": {env{"PGSSLCERT": cert}, "sslrootcert=system", alone},
		"verify-ca": {
			env{},
			"sslmode=verify-ca",
			anybody,
		},
		"verify-ca with the public authorities": {
			env{"APP_ENV": "test"}, "sslmode=verify-ca&sslrootcert=/etc/ssl/certs/ca-certificates.crt", anybody,
		},
		"require with the public authorities": {
			env{"PGSSLROOTCERT": "/etc/ssl/certs/ca-certificates.crt"},
			"sslmode=require",
			"sslmode=require, which does not verify the server",
		},
		"PGREQUIRESSL": {env{"PGREQUIRESSL": "1", "APP_ENV": "test"}, "", "sslmode by PGREQUIRESSL (environment)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			environ := env{"DATABASE_URL": "postgres://u:p@db/d?" + test.query}
			maps.Copy(environ, test.environ)
			cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: environ})
			text := cfg.URL().Reveal()
			if err != nil {
				text = err.Error()
			}
			for _, s := range cfg.Report() {
				text += "\n" + s.Note + "\n" + strings.TrimPrefix(s.Key, "DATABASE_URL ") + " by " + s.Source
			}
			if !strings.Contains(text, test.want) {
				t.Errorf("want %q in\n%s", test.want, text)
			}
		})
	}
}

// TestNoDatabase: without an @ the address may be a login, so no part of it is shown.
func TestNoDatabase(t *testing.T) {
	t.Parallel()
	for url, shown := range map[string]string{
		"postgres://app:12345":      "postgres://user:password@host:5432/DATABASE",
		"postgres://app:12345@db:1": "postgres://app:****@db:1/DATABASE",
		"host=db user=app":          "postgres://app@db:5432/DATABASE",
		"user=app":                  "postgres://app@localhost:5432/DATABASE",
	} {
		text := refused(t, pgconfig.Source{Environ: env{"APP_ENV": "test", "DATABASE_URL": url, "USER": "me"}})
		equal(t, url, text, "DATABASE_URL names no database: put it at the end: "+shown)
	}
	for _, url := range []string{"postgres://app:12,hunter2", "postgres://app:5,kX9hunter2/shop"} {
		text := refused(t, pgconfig.Source{Environ: env{"APP_ENV": "test", "DATABASE_URL": url, "USER": "me"}})
		if strings.Contains(text, "hunter2") {
			t.Error(text)
		}
	}
}

// TestPrivateDomains: only a provider's own domain gets its advice.
func TestPrivateDomains(t *testing.T) {
	t.Parallel()
	for host, wrong := range map[string]string{
		"db.c.my-project.internal":                    "encrypted",
		"ip-10-0-0-1.ec2.internal":                    "encrypted",
		"host.docker.internal":                        "encrypted",
		"ec2-1-2-3-4.eu-west-1.compute.amazonaws.com": "signs its certificates itself",
	} {
		text := refused(t, pgconfig.Source{Environ: env{
			"DATABASE_URL": "postgres://u:p@" + host + "/d?sslmode=disable",
		}})
		if strings.Contains(text, wrong) {
			t.Error(text)
		}
	}
}

// TestNestedService: libpq refuses a service that names another one.
func TestNestedService(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"service", "servicefile"} {
		text := refused(t, pgconfig.Source{Environ: env{
			"APP_ENV": "development", "PGSERVICE": "nested",
			"PGSERVICEFILE": file(t, "services", "[nested]\nhost=h\nuser=u\ndbname=d\n"+name+"=other\n"),
		}})
		if !strings.Contains(text, "PGSERVICE names a service with "+name+" in its section") {
			t.Error(text)
		}
	}
}

// TestGapInPorts: a gap in a list of ports means 5432, even if a weaker source has a port.
func TestGapInPorts(t *testing.T) {
	t.Parallel()
	cfg := load(t, env{"APP_ENV": "development", "DATABASE_URL": "postgres://u:p@h1:5433,h2/db", "PGPORT": "6000"})
	if url := cfg.URL().Reveal(); !strings.Contains(url, "@h1:5433,h2:5432/") {
		t.Error(url)
	}
}

// TestNoCache: pgx runs no query with an empty cache of statements.
func TestNoCache(t *testing.T) {
	t.Parallel()
	pc, err := load(t, env{
		"APP_ENV": "development", "DATABASE_URL": "postgres://u@localhost/d?statement_cache_capacity=0",
	}).PoolConfig()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "mode", pc.ConnConfig.DefaultQueryExecMode, pgx.QueryExecModeCacheDescribe)
}

// TestOwnSource: DATABASE_URL has its own options or service. PGOPTIONS and PGSERVICE then count
// for the other connections, with their limits.
func TestOwnSource(t *testing.T) {
	t.Parallel()
	services := file(t, "services", "[a]\ndbname=d\n[b]\nlock_timeout=3s\nconnect_timeout=9\n")
	const url = "postgres://u@localhost/d"
	for name, test := range map[string]struct {
		environ       env
		main, replica string // lock_timeout
	}{
		"options": {
			env{"DATABASE_URL": url + "?options=-c%20work_mem=1MB", "PGOPTIONS": "-c lock_timeout=3s"}, "5000", "3000",
		},
		"options with the limit": {
			env{"DATABASE_URL": url + "?options=-c%20lock_timeout=9s", "PGOPTIONS": "-c lock_timeout=3s"},
			"9000", "9000",
		},
		"options and a variable": {
			env{
				"DATABASE_URL": url + "?options=-c%20work_mem=1MB", "PGOPTIONS": "-c lock_timeout=3s",
				"DATABASE_LOCK_TIMEOUT": "4s",
			}, "4000", "4000",
		},
		"a service": {
			env{"DATABASE_URL": url + "?service=a", "PGSERVICE": "b", "PGSERVICEFILE": services}, "5000", "3000",
		},
		"options of the replica": {
			env{
				"DATABASE_URL": url, "PGOPTIONS": "-c lock_timeout=3s",
				"DATABASE_REPLICA_URLS": url + "?options=-c%20jit%3Doff",
			}, "3000", "3000",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			environ := env{"APP_ENV": "development", "DATABASE_REPLICA_URLS": url}
			maps.Copy(environ, test.environ)
			cfg := load(t, environ)
			for what, one := range map[string]struct {
				cfg  pgconfig.Config
				want string
			}{"main": {cfg, test.main}, "replica": {cfg.Replicas()[0], test.replica}} {
				pc, err := one.cfg.PoolConfig()
				if err != nil {
					t.Fatal(err)
				}
				equal(t, what, pc.ConnConfig.RuntimeParams["lock_timeout"], one.want)
			}
		})
	}
}
