package pgconfig_test

import (
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgconfig"
)

func TestDoctor(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		url  string
		want string
	}{
		{
			"postgres://app:hunter@horse",
			"names no database: put it at the end: postgres://app:****@horse:5432/DATABASE",
		},
		{"host=a,b port=1,2,3 user=app password=horse dbname=shop", "names a different number of hosts and ports"},
		{
			"postgres://app:horse@db.example",
			"names no database: put it at the end: postgres://app:****@db.example:5432/DATABASE",
		},
		{"postgres://app:horse@a,b:1,c:2/shop?port=1,2", "names a different number of hosts and ports"},
		{"postgres://db.example/shop", "names no user"},
		{
			"postgres://app:horse@db/shop?connect_timeout=5s",
			"has the parameter connect_timeout, which is not a number of seconds: correct it, or take it out",
		},
		{
			"postgres://app:hun@ter/horse@db.example:5432/shop?sslmode=require",
			"write @ as %40, / as %2F, so that it reads postgres://app:****@db.example:5432/shop?…",
		},
		{"jdbc:postgresql://db/shop?user=app&password=horse", "is a JDBC address"},
	} {
		t.Run(test.url, func(t *testing.T) {
			t.Parallel()
			text := refused(t, pgconfig.Source{Environ: env{"DATABASE_URL": test.url}})
			if !strings.Contains(text, test.want) {
				t.Errorf("want %q in\n%s", test.want, text)
			}
			if strings.Contains(test.want, "****@horse") {
				return // without a second @ it cannot be anything but the host
			}
			for _, secret := range []string{"hunt", "hun@", "ter/", "hors", "sure"} {
				if strings.Contains(text, secret) {
					t.Errorf("%q appears in\n%s", secret, text)
				}
			}
		})
	}
}

// TestAccepted: some URLs look odd but are fine.
func TestAccepted(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"postgres://app:a:b@localhost/d":                            "postgres://app:a%3Ab@localhost:5432/d?sslmode=prefer",
		"postgresql://app:%40%2F@localhost/d":                       "postgres://app:%40%2F@localhost:5432/d?sslmode=prefer",
		" postgres://app@localhost/d\n":                             "postgres://app@localhost:5432/d?sslmode=prefer",
		"postgres://localhost/d?user=app&password=x%26y":            "postgres://app:x%26y@localhost:5432/d?sslmode=prefer",
		"postgres://app@/d?host=localhost&port=5433":                "postgres://app@localhost:5433/d?sslmode=prefer",
		"postgres://app@localhost/d?ssl=true":                       "postgres://app@localhost:5432/d?sslmode=require",
		"postgres://app@localhost/d?options=-c%20search_path%3Da,b": "postgres://app@localhost:5432/d?options=-c%20search_path%3Da%2Cb&sslmode=prefer",
		"postgres://app@localhost/d?app.tenant=7&work_mem=8MB":      "postgres://app@localhost:5432/d?options=-c%20app.tenant%3D7%20-c%20work_mem%3D8MB&sslmode=prefer",
		"postgres://app@localhost/d?gssencmode=disable":             "postgres://app@localhost:5432/d?sslmode=prefer",
		"postgres://app@localhost/d%20e":                            "postgres://app@localhost:5432/d%20e?sslmode=prefer",
		"postgres://app@localhost/d?sslmode=":                       "postgres://app@localhost:5432/d?sslmode=prefer",
		"host=localhost dbname=d user=app " +
			"options=-capp.next=a://b": "postgres://app@localhost:5432/d?options=-c%20app.next%3Da%3A//b&sslmode=prefer",
		"host=/run/pg dbname=d user=app":                                         "postgres://app@/d?host=/run/pg&port=5432&sslmode=prefer",
		"postgres://app@/d?host=/run/a,/run/b&port=1,2":                          "postgres://app@/d?host=/run/a%2C/run/b&port=1%2C2&sslmode=prefer",
		"postgres://app@localhost/d?fallback_application_name=a&sslmode=disable": "postgres://app@localhost:5432/d?sslmode=disable",
	} {
		cfg, err := pgconfig.Parse(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		equal(t, url, cfg.URL().Reveal(), want)
		if _, err := cfg.PoolConfig(); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}
