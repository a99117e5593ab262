package pgconfig_test

import (
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgconfig"
)

func TestTLSRules(t *testing.T) {
	t.Parallel()
	const refuse = ""
	root := file(t, "root.crt", authority(t))
	for _, test := range []struct {
		environment, host, query, allow string
		want                            string // the sslmode, or refuse
	}{
		{"production", "db", "", "", "verify-full"},
		{"production", "db", "sslmode=verify-full", "", "verify-full"},
		{"production", "db", "sslmode=verify-ca&sslrootcert=" + root, "", "verify-ca"},
		{"production", "db", "sslrootcert=system", "", "verify-full"},
		{"production", "db", "sslmode=require", "", refuse},
		{"production", "db", "sslmode=prefer", "", refuse},
		{"production", "db", "sslmode=allow", "", refuse},
		{"production", "db", "sslmode=disable", "", refuse},
		{"production", "localhost,db", "sslmode=disable", "", refuse},
		{"staging", "db", "sslmode=disable", "", refuse},
		{"", "db", "sslmode=disable", "", refuse},
		{"production", "db", "sslmode=disable", "true", "disable"},
		{"production", "db", "sslmode=require", "1", "require"},
		{"production", "db", "", "true", "require"},
		{"production", "localhost", "sslmode=disable", "", "disable"},
		{"production", "localhost", "", "", "prefer"},
		{"development", "db", "sslmode=disable", "", "disable"},
		{"test", "db", "", "", "prefer"},
	} {
		t.Run(strings.Join([]string{test.environment, test.host, test.query, test.allow}, " "), func(t *testing.T) {
			t.Parallel()
			for _, key := range []string{"DATABASE_URL", "DIRECT_DATABASE_URL", "DATABASE_REPLICA_URLS"} {
				environ := env{
					"APP_ENV": test.environment, "DATABASE_URL": "postgres://u:p@db/d",
					"DATABASE_ALLOW_INSECURE_TLS": test.allow,
				}
				environ[key] = "postgres://u:p@" + test.host + "/d?" + test.query
				if test.want == refuse {
					text := refused(t, pgconfig.Source{Environ: environ})
					if !strings.HasPrefix(text, key+" connects to db with sslmode=") ||
						!strings.Contains(text, "sslrootcert") ||
						!strings.Contains(text, "DATABASE_ALLOW_INSECURE_TLS=true") {
						t.Error(text)
					}
					continue
				}
				cfg := load(t, environ)
				s := setting(t, cfg, key)
				if !strings.Contains(s.Value, "sslmode="+test.want) {
					t.Errorf("%s is %s, want sslmode=%s", key, s.Value, test.want)
				}
				loud := test.allow != "" && test.want != "verify-full"
				if got := strings.Contains(s.Note, "INSECURE"); got != loud {
					t.Errorf("%s: note %q, want a warning: %t", key, s.Note, loud)
				}
			}
		})
	}
}

// TestDirectTLS: sslnegotiation=direct needs a mode that insists on TLS, as in libpq.
func TestDirectTLS(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]string{
		"": "require", "require": "require", "verify-full": "verify-full", "disable": "", "allow": "", "prefer": "",
	} {
		src := pgconfig.Source{Environ: env{
			"APP_ENV": "test", "DATABASE_URL": "postgres://u@db/d?sslnegotiation=direct&sslmode=" + mode,
		}}
		if want == "" {
			equal(t, "error", refused(t, src), "DATABASE_URL has sslnegotiation=direct with sslmode="+mode+
				": write sslmode=require or a stronger one")
		} else if url := load(t, src.Environ).URL().Reveal(); !strings.Contains(url, "sslmode="+want+"&") {
			t.Error(mode, url)
		}
	}
}

// TestNoTLS: without TLS, its files do not matter, as in libpq.
func TestNoTLS(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	for _, name := range []string{"postgresql.crt", "postgresql.key", "root.crt"} {
		write(t, home+"/.postgresql/"+name, "no certificate")
	}
	cfg := load(t, env{
		"APP_ENV": "test", "HOME": home, "PGSSLROOTCERT": "/nothing",
		"DATABASE_URL": "postgres://u@localhost/d?sslmode=disable&sslcert=/nothing&sslkey=/nothing&sslpassword=x",
	})
	equal(t, "URL", cfg.URL().Reveal(), "postgres://u@localhost:5432/d?sslmode=disable")
	equal(t, "note", setting(t, cfg, "DATABASE_URL").Note, "sslrootcert is left out: sslmode is disable; sslcert is left "+
		"out: sslmode is disable; sslkey is left out: sslmode is disable; sslpassword is left out: sslmode is disable")
	cfg = load(t, env{"APP_ENV": "test", "HOME": home, "DATABASE_URL": "postgres://u@localhost/d?sslmode=disable"})
	equal(t, "note", setting(t, cfg, "DATABASE_URL").Note, "")
}

// TestTLSDefault: the default verifies the name too, in pgx's terms.
func TestTLSDefault(t *testing.T) {
	t.Parallel()
	pc, err := load(t, env{"DATABASE_URL": "postgres://u:p@db.example/d"}).PoolConfig()
	if err != nil {
		t.Fatal(err)
	}
	tls := pc.ConnConfig.TLSConfig
	if tls == nil || tls.InsecureSkipVerify || tls.ServerName != "db.example" || len(pc.ConnConfig.Fallbacks) != 0 {
		t.Errorf("%+v with %d fallbacks", tls, len(pc.ConnConfig.Fallbacks))
	}
}
