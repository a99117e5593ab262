package pgconfig_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgconfig"
)

// TestServices: a service file is read as libpq reads it.
func TestServices(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"[a]\nhost=one\nhost=two\n":                         "@one:5432/",
		"[a]\nhost=one\n[a]\nhost=two\n":                    "@one:5432/",
		"[a]\nport=77\n[b]\nhost=two\n[a]\nhost=three\n":    "@localhost:77/",
		"[a]\nhost=\nhost=two\n":                            "@localhost:5432/",
		"  [a]x\n  host=one  \n# host=two\n":                "@one:5432/",
		"junk\n[b]\nalso junk\n[ab]\nhost=x\n[a]\nhost=one": "@one:5432/",
		"[a]\nhost = one\n":                                 "PGSERVICE names a service with a line in its section that is not of the form name=value",
		"[a]\nhost=one\njunk":                               "PGSERVICE names a service with a line in its section that is not of the form name=value",
		"[a]\nservice=b\n":                                  "PGSERVICE names a service with service in its section: take that out",
		"[a]\nservicefile=b\n":                              "PGSERVICE names a service with servicefile in its section: take that out",
		"[b]\n":                                             "PGSERVICE names a service that the service file does not have",
	} {
		environ := env{
			"APP_ENV": "test", "PGDATABASE": "d", "PGUSER": "u", "PGSERVICE": "a", "PGSERVICEFILE": file(t, "services", text),
		}
		cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: environ})
		if got := cfg.URL().Reveal(); err == nil && !strings.Contains(got, want) {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
		if err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// TestNames: errors and notes name the variables with the prefix.
func TestNames(t *testing.T) {
	t.Parallel()
	environ := env{
		"APP_ENV": "production", "X_DATABASE_URL": "postgres://u:p@db/d?lock_timeout=1x",
		"X_DATABASE_PASSWORD_FILE": file(t, "password", "other"), "X_DATABASE_KEEPALIVE_COUNT": "0",
		"X_DATABASE_REPLICA_URLS": "postgres://u:p@db/d?sslmode=require",
	}
	_, err := pgconfig.LoadFrom(pgconfig.Source{Prefix: "X", Environ: environ})
	if err == nil {
		t.Fatal("loaded")
	}
	text := err.Error()
	for _, name := range []string{
		"X_DATABASE_PASSWORD_FILE is set too", "or X_DATABASE_KEEPALIVE_IDLE=off",
		"X_DATABASE_ALLOW_INSECURE_TLS=true accepts",
	} {
		if !strings.Contains(text, name) {
			t.Errorf("no %q in %s", name, text)
		}
	}
	if strings.Count(text, "DATABASE_") != strings.Count(text, "X_DATABASE_") || strings.Contains(text, "X_X_") {
		t.Error(text)
	}
}

// TestNoEffect: an input that can have no effect is noted. One that cannot be sent is refused.
func TestNoEffect(t *testing.T) {
	t.Parallel()
	for want, environ := range map[string]env{
		"the pass file is left out: a password is given already": {
			"DATABASE_URL": "postgres://u:p@localhost/d", "PGPASSFILE": "/nothing",
		},
		"statement_cache_capacity is left out: no statement has a name behind PgBouncer": {
			"DATABASE_URL": "postgres://u:p@localhost/d?pgbouncer=true&statement_cache_capacity=100",
		},
		"client_encoding is left out: pgx always uses UTF8; gssencmode is left out: pgx does not encrypt with GSSAPI": {
			"DATABASE_URL":     "postgres://u:p@localhost/d?client_encoding=UTF8&gssencmode=disable",
			"PGCLIENTENCODING": "LATIN1", "PGGSSENCMODE": "require", // psql does not look at them either
		},
	} {
		environ["APP_ENV"] = "test"
		equal(t, "note", setting(t, load(t, environ), "DATABASE_URL").Note, want)
	}
	for want, environ := range map[string]env{
		"DATABASE_APPLICATION_NAME has a NUL character in it": {
			"DATABASE_URL": "postgres://u@localhost/d", "DATABASE_APPLICATION_NAME": "a\x00user\x00postgres",
		},
		"has the parameter application_name, which has a NUL character in it": {
			"DATABASE_URL": "host=localhost user=u dbname=d application_name='a\x00user\x00postgres'",
		},
		"PGOPTIONS has a NUL character in it": {
			"DATABASE_URL": "postgres://u@localhost/d", "PGOPTIONS": "-c jit=off\x00user\x00postgres",
		},
	} {
		environ["APP_ENV"] = "test"
		_, err := pgconfig.LoadFrom(pgconfig.Source{Environ: environ})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	// One cause, one problem: .env names no host.
	_, err := pgconfig.LoadFrom(pgconfig.Source{
		Environ: env{}, DotEnv: []string{file(t, ".env", "PGDATABASE=app\nPGUSER=u\n")},
	})
	var failed *pgconfig.Error
	if !errors.As(err, &failed) || len(failed.Problems) != 1 ||
		!strings.Contains(err.Error(), "DATABASE_URL names no host") {
		t.Errorf("%v", err)
	}
}

// TestLibpqVariables: each of libpq's variables has an effect, a note or an error that names it.
func TestLibpqVariables(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	write(t, home+"/services", "[bad]\nhost=db:5433\nuser=u\n[odd]\nhost=db\nsslcrl=f\n"+
		"[fine]\nhost=db\ndbname=d\nsslcompression=1\n")
	base := env{"APP_ENV": "test", "PGHOST": "localhost", "PGDATABASE": "d", "PGUSER": "u"}
	for _, test := range []struct {
		environ env
		want    string // part of an error, of the URL or of a note
	}{
		{env{"PGHOST": "localhost:5433"}, "PGHOST is not a name or an address: the port is a setting of its own"},
		{env{"PGHOST": "[::1]"}, "PGHOST is not a name or an address"},
		{env{"PGHOST": "::1"}, "@[::1]:5432/"},
		{env{"PGHOST": "${HOST}"}, "PGHOST is a placeholder like ${NAME}"},
		{env{"PGHOSTADDR": "127.0.0.1"}, "PGHOSTADDR is not known to pgx: give the address as the host"},
		{env{"PGPORT": "1,2"}, "PGPORT has a different number of ports than PGHOST has hosts"},
		{env{"PGPORT": "none"}, "PGPORT is not a number from 1 to 65535"},
		{env{"PGHOST": "a,b", "PGPORT": "1,2"}, "@a:1,b:2/"},
		{env{"PGUSER": "app\n"}, "PGUSER ends with a line break"},
		{env{"PGDATABASE": "d\n"}, "PGDATABASE ends with a line break"},
		{env{"PGPASSWORD": "secret\n"}, "PGPASSWORD ends with a line break: take it off: echo adds one"},
		{env{"PGPASSWORD": "$(PASSWORD)"}, "PGPASSWORD is a placeholder like $(NAME)"},
		{env{"PGREQUIREPEER": "postgres"}, "PGREQUIREPEER asks for a check of the socket's owner"},
		{env{"PGSSLMINPROTOCOLVERSION": "TLSv1.3"}, "PGSSLMINPROTOCOLVERSION asks for a version of TLS"},
		{env{"PGSSLMINPROTOCOLVERSION": "TLSv1.2"}, "ssl_min_protocol_version is left out"},
		{env{"PGSSLMAXPROTOCOLVERSION": "TLSv1.2"}, "PGSSLMAXPROTOCOLVERSION asks for an older version of TLS"},
		{env{"PGSSLCRL": "f"}, "PGSSLCRL asks for a revocation list"},
		{env{"PGSSLCRLDIR": "f"}, "PGSSLCRLDIR asks for a revocation list"},
		{env{"PGGSSENCMODE": "require"}, "PGGSSENCMODE asks for GSSAPI encryption"},
		{env{"PGSSLMODE": "verify"}, "PGSSLMODE has a value that does not exist: write one of disable"},
		{env{"PGREQUIRESSL": "1"}, "sslmode=require"},
		{env{"PGSSLCOMPRESSION": "1"}, "sslcompression is left out"},
		{env{"PGLOADBALANCEHOSTS": "random"}, "load_balance_hosts is left out"},
		{env{"PGCLIENTENCODING": "LATIN1"}, "PGCLIENTENCODING asks for another encoding"},
		{env{"PGDATESTYLE": "German"}, "options=-c%20datestyle%3DGerman"},
		{env{"PGGEQO": "off"}, "options=-c%20geqo%3Doff"},
		{env{"PGTZ": "UTC", "PGOPTIONS": "-c work_mem=1MB"}, "options=-c%20timezone%3DUTC%20-c%20work_mem%3D1MB"},
		{env{"PGOPTIONS": "-c lock_timeout=soon"}, "PGOPTIONS sets lock_timeout to a value that is not a duration"},
		{
			env{"PGCONNECT_TIMEOUT": "soon"},
			"PGCONNECT_TIMEOUT is not a number of seconds: correct it, or take it out",
		},
		{env{"PGTARGETSESSIONATTRS": "primary"}, "target_session_attrs=primary"},
		{env{"PGDATA": "/var/lib/postgresql"}, "@localhost:5432/d?sslmode=prefer"}, // the server's, not libpq's

		// A variable has no effect if the URL has the value.
		{env{"DATABASE_URL": "postgres://u@c/d?sslmode=disable", "PGSSLMODE": "bogus"}, "@c:5432/d?sslmode=disable"},
		{
			env{"DATABASE_URL": "postgres://u@c/d?connect_timeout=3", "PGCONNECT_TIMEOUT": "x"},
			"@c:5432/d?sslmode=prefer",
		},
		{env{
			"DATABASE_URL": "postgres://u:p@c:1/d", "PGHOST": "localhost:5433", "PGPORT": "x", "PGPASSWORD": "p\n",
			"PGUSER": "$(U)", "PGDATABASE": "d\n",
		}, "@c:1/d"},
		{env{"DATABASE_URL": "postgres://u@c,d/d", "PGPORT": "1,2"}, "@c:1,d:2/d"},
		{
			env{"DATABASE_URL": "postgres://u@c,d/d", "PGPORT": "1,2,3"},
			"PGPORT has a different number of ports than there are hosts",
		},
		{
			env{"DATABASE_URL": "postgres://u@c/d?options=-c%20jit%3Doff", "PGOPTIONS": "-c work_mem=1MB"},
			"PGOPTIONS is left out: options are given already",
		},
		{env{"DATABASE_URL": "postgres://u@c/d?work_mem=2MB", "PGOPTIONS": "-c work_mem=1MB"}, "work_mem%3D2MB"},

		{
			env{"PGSERVICE": "bad", "PGSERVICEFILE": home + "/services"},
			"PGSERVICE names a service which has a host that is not a name or an address",
		},
		{
			env{"PGSERVICE": "odd", "PGSERVICEFILE": home + "/services"},
			"PGSERVICE names a service which has the parameter sslcrl, which asks for",
		},
		{env{"PGSERVICE": "fine", "PGSERVICEFILE": home + "/services", "PGPORT": "7"}, "@db:7/d"},
		{env{"PGSERVICE": "fine", "PGSERVICEFILE": home + "/services"}, "sslcompression is left out"},
		{env{"PGSERVICE": "fine", "PGSERVICEFILE": home + "/services", "HOME": "/nothing"}, "@db:5432/d"},
		{env{"DATABASE_URL": "postgres://u@/?service=fine&servicefile=" + home + "/services"}, "@db:5432/d?sslmode="},
		{
			env{"DATABASE_URL": "postgres://u@/?service=bad&servicefile=" + home + "/services"},
			"DATABASE_URL names a service which has a host",
		},
	} {
		t.Run(test.want, func(t *testing.T) {
			t.Parallel()
			environ := env{}
			for _, from := range []env{base, test.environ} {
				for name, value := range from {
					environ[name] = value
				}
			}
			var text string
			cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: environ})
			if err != nil {
				text = err.Error()
				if n := strings.Count(text, test.want); n > 1 {
					t.Errorf("%d times", n)
				}
			} else {
				text = cfg.URL().Reveal() + setting(t, cfg, "DATABASE_URL").Note
			}
			if !strings.Contains(text, test.want) {
				t.Errorf("want %q in\n%s", test.want, text)
			}
		})
	}

	// A problem appears once, even if it affects several connection strings.
	text := refused(t, pgconfig.Source{Environ: env{
		"DATABASE_URL": "postgres://u@/d", "DIRECT_DATABASE_URL": "postgres://u@/d",
		"DATABASE_REPLICA_URLS": "postgres://u@/d,postgres://v@/d",
		"PGHOST":                "localhost:5433",
	}})
	equal(t, "lines", strings.Count(text, "\n"), 0)
}

// TestParts: the report says where each part of DATABASE_URL came from.
func TestParts(t *testing.T) {
	t.Parallel()
	cfg := load(t, env{
		"APP_ENV": "test", "PGHOST": "h", "PGPORT": "7", "PGUSER": "u", "PGDATABASE": "d", "PGPASSWORD": "hidden",
		"PGSSLMODE":     "disable",
		"PGSSLPASSWORD": "hidden", "PGOPTIONS": "endpoint=e -c work_mem=1MB", "PGTZ": "UTC", "PGAPPNAME": "web",
	})
	for name, want := range map[string][2]string{
		"host": {"h", "PGHOST"}, "port": {"7", "PGPORT"}, "user": {"u", "PGUSER"}, "database": {"d", "PGDATABASE"},
		"password": {"****", "PGPASSWORD"}, "sslpassword": {"****", "PGSSLPASSWORD"}, "sslmode": {
			"disable",
			"PGSSLMODE",
		},
		"timezone": {"UTC", "PGTZ"}, "work_mem": {"1MB", "PGOPTIONS"}, "application_name": {"web", "PGAPPNAME"},
		"options": {"endpoint=e -c timezone=UTC -c work_mem=1MB", "PGOPTIONS"},
	} {
		s := setting(t, cfg, "DATABASE_URL "+name)
		equal(t, name, s.Value, want[0])
		equal(t, "source of "+name, s.Source, want[1]+" (environment)")
	}
	equal(t, "source", setting(t, cfg, "DATABASE_URL").Source, "its parts")
	equal(t, "source of the name", setting(t, cfg, "DATABASE_APPLICATION_NAME").Source, "PGAPPNAME (environment)")
}

// TestPassFile: pgx logs in to all hosts with one password, so they must agree on it.
func TestPassFile(t *testing.T) {
	t.Parallel()
	passfile := file(t, "pgpass", "b:5432:d:u:second\nc:5432:d:u:third\n*:7:d:u:second\nlocalhost:5432:d:u:here\n")
	for _, test := range []struct{ hosts, want string }{
		{"b", "u:second@"},
		{"a,b", "u:second@"},
		{"b,a", "u:second@"},
		{"b,a:7", "u:second@"},
		{"a", "u@a"},
		{"b,c", "DATABASE_URL names hosts for which the pass file has different passwords"},
	} {
		cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: env{"DATABASE_URL": "postgres://u@" + test.hosts +
			"/d", "PGPASSFILE": passfile}})
		text := cfg.URL().Reveal()
		if err != nil {
			text = err.Error()
		} else if strings.Contains(test.want, ":") {
			equal(t, "source", setting(t, cfg, "DATABASE_URL password").Source, "file "+passfile)
		}
		if !strings.Contains(text, test.want) {
			t.Errorf("%s: want %q in %q", test.hosts, test.want, text)
		}
	}
	cfg := load(t, env{"DATABASE_URL": "postgres://u@/d?host=/run/pg", "PGPASSFILE": passfile})
	equal(t, "URL", cfg.URL().Reveal(), "postgres://u:here@/d?host=/run/pg&port=5432&sslmode=prefer")
	sockets := file(t, "pgpass", "/cloudsql/p\\:r\\:i:5432:d:u:cloud\n")
	cfg = load(t, env{"DATABASE_URL": "postgres://u@/d?host=/cloudsql/p:r:i", "PGPASSFILE": sockets})
	equal(t, "password of a socket", setting(t, cfg, "DATABASE_URL password").Source, "file "+sockets)
	cfg = load(t, env{"APP_ENV": "test", "DATABASE_URL": "postgres://u@a,b/d", "PGPASSFILE": passfile})
	equal(t, "note", setting(t, cfg, "DATABASE_URL").Note,
		"the pass file has a line for some of the hosts: its password goes to all")
	cfg = load(t, env{"APP_ENV": "test", "DATABASE_URL": "postgres://u@a,x/d", "PGPASSFILE": passfile})
	equal(t, "note without a password", setting(t, cfg, "DATABASE_URL").Note, "")
	open := file(t, "pgpass", "*:*:*:*:open\n")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	cfg = load(t, env{"APP_ENV": "test", "DATABASE_URL": "postgres://u@a,b/d", "PGPASSFILE": open})
	equal(t, "note on its mode", setting(t, cfg, "DATABASE_URL").Note,
		"the pass file may be read by others, so psql does not use it: chmod 600")
	cfg = load(t, env{"DATABASE_URL": "postgres://u@b/d", "PGPASSFILE": "/nothing"})
	equal(t, "URL", cfg.URL().Reveal(), "postgres://u@b:5432/d?sslmode=verify-full&sslrootcert=system")
}
