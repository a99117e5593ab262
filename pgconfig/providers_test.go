package pgconfig_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgconfig"
)

// TestProviders: the URLs of managed services, as their consoles show them, load in production with
// a note, or with an error that says what to add. docs/managed-providers.md names each host.
func TestProviders(t *testing.T) {
	t.Parallel()
	root := file(t, "ca.crt", authority(t))
	const full = "sslmode=verify-full&sslrootcert=system"
	for _, test := range []struct {
		name  string
		url   string
		want  string // part of the error, or of URL and note
		fixed string // replaces sslmode=require, and then it loads
	}{
		{
			"RDS", "postgres://app:p@shop.c9akciq32.eu-west-1.rds.amazonaws.com:5432/shop?sslmode=require",
			"write sslmode=verify-full&sslrootcert=/path/to/global-bundle.pem", "sslmode=verify-full&sslrootcert=" +
				root,
		},
		{
			"Aurora", "postgresql://app:p@shop.cluster-c9akciq32.eu-west-1.rds.amazonaws.com/shop?sslmode=require",
			"https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem", "sslmode=verify-full&sslrootcert=" +
				root,
		},
		{
			"Aurora, without sslmode", "postgresql://app:p@shop.cluster-ro-c9akciq32.eu-west-1.rds.amazonaws.com/shop",
			"the system's roots may not verify this server: download https://truststore.pki.rds.amazonaws.com", "",
		},
		{
			"RDS Proxy, without sslmode", "postgres://app:p@shop.proxy-c9akciq32.eu-west-1.rds.amazonaws.com/shop", full, "",
		},
		{
			"RDS Proxy", "postgres://app:p@shop.proxy-c9akciq32.eu-west-1.rds.amazonaws.com:5432/shop?sslmode=require", "write " + full, full,
		},
		{
			"Cloud SQL, socket", "postgres://app:p@/shop?host=/cloudsql/project:europe-west1:shop",
			"host=/cloudsql/project%3Aeurope-west1%3Ashop", "",
		},
		{
			"Cloud SQL, socket as for Prisma",
			"postgresql://app:p@localhost/shop?host=/cloudsql/project:europe-west1:shop",
			"the parameter host wins over the part before", "",
		},
		{
			"Cloud SQL, connector", "postgres://app:p@127.0.0.1:5432/shop",
			"is this machine itself: right with a proxy beside the program", "",
		},
		{
			"Cloud SQL, connector with sslmode", "postgres://app:p@localhost:5432/shop?sslmode=disable",
			"sslmode=disable", "",
		},
		{"Azure", "postgres://app:p@shop.postgres.database.azure.com:5432/shop?sslmode=require", "write " + full, full},
		{
			"Azure, user@server", "postgres://app@shop:p@shop.postgres.database.azure.com:5432/shop?sslmode=require",
			"write @ as %40, so that it reads postgres://app%40shop:****@shop.postgres.database.azure.com:5432/shop",
			"",
		},
		{
			"Azure, user%40server", "postgres://app%40shop:p@shop.postgres.database.azure.com:5432/shop?" + full,
			"postgres://app%40shop:p@", "",
		},
		{
			"Azure, keywords", "host=shop.postgres.database.azure.com port=5432 dbname=shop user=app password=p " +
				"sslmode=require", "write " + full, "",
		},
		{
			"Supabase, direct", "postgresql://postgres:[YOUR-PASSWORD]@db.abcdefghij.supabase.co:5432/postgres",
			"has a password that is a placeholder like [YOUR-PASSWORD]", "",
		},
		{
			"Supabase, direct, filled in", "postgresql://postgres:p@db.abcdefghij.supabase.co:5432/postgres?sslmode=require",
			"download the certificate from its console", "sslmode=verify-full&sslrootcert=" + root,
		},
		{
			"Supabase, session pooler", "postgresql://postgres.abcdefghij:p@aws-0-eu-central-1.pooler.supabase.com:5432/postgres",
			"the system's roots may not verify this server: it has an authority of its own", "",
		},
		{
			"Supabase, session pooler, region",
			"postgresql://postgres.abcdefghij:p@aws-0-[REGION].pooler.supabase.com:5432/postgres",
			"has a host that is a placeholder", "",
		},
		{
			"Supabase, transaction pooler",
			"postgresql://postgres.abcdefghij:p@aws-0-eu-central-1.pooler.supabase.com:6543/postgres?pgbouncer=true&connection_limit=1&sslmode=require",
			"sslmode=verify-full&sslrootcert=/path/to/ca.crt", "sslmode=verify-full&sslrootcert=" + root,
		},
		{
			"Neon", "postgresql://app:p@ep-cool-rain-123456.eu-central-1.aws.neon.tech/shop?sslmode=require&channel_binding=require",
			"write " + full, full,
		},
		{
			"Neon, pooler", "postgresql://app:p@ep-cool-rain-123456-pooler.eu-central-1.aws.neon.tech/shop?sslmode=require&pgbouncer=true&connect_timeout=10",
			"write " + full, full,
		},
		{
			"Neon, endpoint", "postgresql://app:p@ep-cool-rain-123456.eu-central-1.aws.neon.tech/shop?" + full +
				"&options=endpoint%3Dep-cool-rain-123456&pgbouncer=true",
			"options=endpoint%3Dep-cool-rain-123456", "",
		},
		{
			"Neon, project", "postgresql://app:p@eu-central-1.aws.neon.tech/shop?" + full +
				"&options=project%3Dcool-rain-123456",
			"options=project%3Dcool-rain-123456", "",
		},
		{
			"Heroku", "postgres://u1:p1@ec2-34-1-2-3.compute-1.amazonaws.com:5432/d1",
			"the system's roots may not verify this server: if it is Heroku's, its certificates cannot be verified", "",
		},
		{
			"Heroku, with sslmode", "postgres://u1:p1@ec2-34-1-2-3.eu-west-1.compute.amazonaws.com:5432/d1?sslmode=require",
			"if it is Heroku's, its certificates cannot be verified", "",
		},
		{
			"Railway, public", "postgresql://postgres:p@roundhouse.proxy.rlwy.net:12345/railway?sslmode=require",
			"it signs its certificates itself", "",
		},
		{
			"Railway, private", "postgresql://postgres:p@postgres.railway.internal:5432/railway?sslmode=disable",
			"this private network is encrypted", "",
		},
		{"Railway, reference", "${{Postgres.DATABASE_URL}}", "is a placeholder", ""},
		{
			"Render, internal", "postgres://app:p@dpg-abc123-a/shop?sslmode=require",
			"if it is Render's private network, its certificates cannot be verified", "",
		},
		{
			"Render, external", "postgres://app:p@dpg-abc123-a.frankfurt-postgres.render.com/shop",
			"sslmode=verify-full", "",
		},
		{"Fly", "postgres://app:p@shop-db.flycast:5432/shop?sslmode=disable", "this private network is encrypted", ""},
		{
			"Fly, managed", "postgresql://fly-user:p@pgbouncer.abc123.flympg.net/fly-db?sslmode=disable",
			"this private network is encrypted", "",
		},
		{
			"Fly, old", "postgres://app:p@top2.nearest.of.shop-db.internal:5432/shop?sslmode=disable",
			"this private network is encrypted", "",
		},
		{
			"DigitalOcean", "postgresql://doadmin:p@shop-do-user-1-0.b.db.ondigitalocean.com:25060/defaultdb?sslmode=require",
			"it has an authority of its own", "sslmode=verify-full&sslrootcert=" + root,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			load := func(url string, insecure string) (string, bool) {
				cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: env{
					"APP_ENV": "production", "DATABASE_URL": url, "DATABASE_ALLOW_INSECURE_TLS": insecure,
				}})
				if err != nil {
					return err.Error(), false
				}
				if _, err := cfg.PoolConfig(); err != nil {
					t.Error(err)
				}
				return cfg.URL().Reveal() + " " + setting(t, cfg, "DATABASE_URL").Note, true
			}
			text, ok := load(test.url, "")
			if !strings.Contains(text, test.want) {
				t.Errorf("want %q in\n%s", test.want, text)
			}
			if test.fixed != "" {
				if text, ok := load(strings.Replace(test.url, "sslmode=require", test.fixed, 1), ""); !ok {
					t.Errorf("what the error says to write does not load: %s", text)
				}
			}
			if !ok && strings.Contains(text, "DATABASE_ALLOW_INSECURE_TLS=true") {
				if text, ok := load(test.url, "true"); !ok || !strings.Contains(text, "INSECURE: connects to ") {
					t.Errorf("DATABASE_ALLOW_INSECURE_TLS does not help: %s", text)
				}
			}
		})
	}

	// The advice names the variable with its prefix.
	_, err := pgconfig.LoadFrom(pgconfig.Source{Prefix: "A", Environ: env{
		"A_DATABASE_URL": "postgres://u:p@x.proxy.rlwy.net/d?sslmode=require", "APP_ENV": "production",
	}})
	if err == nil || !strings.Contains(err.Error(), "or set A_DATABASE_ALLOW_INSECURE_TLS=true") {
		t.Errorf("got %v", err)
	}
}

// TestProvidersGuide: this package accepts each URL of the guide, or refuses it for the reason that
// the guide names.
func TestProvidersGuide(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile(filepath.Join("..", "docs", "managed-providers.md"))
	if err != nil {
		t.Skip("the module stands alone, without the repository around it")
	}
	root := file(t, "ca.crt", authority(t))
	seen := 0
	for line := range strings.Lines(string(guide)) {
		url, ok := strings.CutPrefix(strings.TrimSpace(line), "DATABASE_URL=")
		if !ok {
			continue
		}
		seen++
		url = strings.Trim(url, "'")
		for _, path := range []string{
			"/etc/ssl/rds/global-bundle.pem", "/etc/ssl/supabase/prod-ca-2021.crt",
			"/etc/ssl/do/ca-certificate.crt",
		} {
			url = strings.ReplaceAll(url, path, root)
		}
		environ := env{"APP_ENV": "production", "DATABASE_URL": url}
		if strings.Contains(url, "sslmode=require") || strings.Contains(url, "sslmode=disable") {
			environ["DATABASE_ALLOW_INSECURE_TLS"] = "true"
		}
		if _, err := pgconfig.LoadFrom(pgconfig.Source{Environ: environ}); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	if seen < 12 {
		t.Errorf("the guide shows %d URLs", seen)
	}
}

// TestPoolers: the pooler of a managed service is known by its address, and the report says what to
// add.
func TestPoolers(t *testing.T) {
	t.Parallel()
	const roots = "?sslmode=verify-full&sslrootcert=system"
	const note = "leads to a pooler in transaction mode: set DATABASE_PGBOUNCER=true, or add pgbouncer=true"
	for address, pooler := range map[string]bool{
		"ep-x-pooler.eu-central-1.aws.neon.tech":            true,
		"ep-x.eu-central-1.aws.neon.tech":                   false,
		"aws-0-eu-central-1.pooler.supabase.com:6543":       true,
		"aws-0-eu-central-1.pooler.supabase.com:5432":       false,
		"db.abcdefghij.supabase.co:6543":                    true,
		"shop.postgres.database.azure.com:6432":             true,
		"shop.postgres.database.azure.com":                  false,
		"pgbouncer.abc.flympg.net":                          true,
		"direct.abc.flympg.net":                             false,
		"shop-do-user-1-0.b.db.ondigitalocean.com:25061":    true,
		"shop-do-user-1-0.b.db.ondigitalocean.com:25060":    false,
		"shop.proxy-abc.eu-west-1.rds.amazonaws.com":        true,
		"shop.cluster-abc.eu-west-1.rds.amazonaws.com":      false,
		"EP-x-pooler.eu-central-1.aws.NEON.tech.":           true,
		"shop-pooler.example.com:6543":                      false,
		"db.example,ep-x-pooler.eu-central-1.aws.neon.tech": true,
	} {
		url := "postgres://u:p@" + address + "/d" + roots
		cfg := load(t, env{"DATABASE_URL": url, "DIRECT_DATABASE_URL": url, "DATABASE_REPLICA_URLS": url})
		for _, key := range []string{"DATABASE_URL", "DATABASE_REPLICA_URLS"} {
			if got := setting(t, cfg, key).Note; strings.Contains(got, note) != pooler {
				t.Errorf("%s %s: %q", key, address, got)
			}
		}
		if got := setting(t, cfg, "DIRECT_DATABASE_URL").Note; strings.Contains(got,
			"leads to a pooler: name the server itself") != pooler {
			t.Errorf("%s: %q", address, got)
		}
		cfg = load(t, env{"DATABASE_URL": url + "&pgbouncer=true"})
		if got := setting(t, cfg, "DATABASE_URL").Note; strings.Contains(got, "leads to a pooler") {
			t.Errorf("%s: %q", address, got)
		}
	}
}
