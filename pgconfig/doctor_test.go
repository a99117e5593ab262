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
		{"postgres://app:hun@ter/horse@db.example:5432/shop?sslmode=require", "write @ as %40, / as %2F, so that it reads postgres://app:****@db.example:5432/shop?…"},
		{"postgres://app:hunter@horse@db.example/shop", "write @ as %40, so that it reads postgres://app:****@db.example/shop"},
		{"postgres://app:hunter/horse@db.example/shop", "write / as %2F, so that it reads postgres://app:****@db.example/shop"},
		{"postgres://app:hunter#horse@db.example/shop", "write # as %23, so that it reads postgres://app:****@db.example/shop"},
		{"postgres://app:hunter?horse@db.example/shop", "write ? as %3F, so that it reads postgres://app:****@db.example/shop"},
		{"postgres://app:hunter@horse?x=y@db.example/shop", "write @ as %40, ? as %3F, so that it reads postgres://app:****@db.example/shop"},
		{"postgres://app:hunter@horse", "names no database: put it at the end: postgres://app:****@horse:5432/DATABASE"},
		{"postgres://app:x@db.example/shop?password=hunter@horse/hors", "so that it reads postgres://app:****@host:5432/database"},
		{"postgres://app@corp:hunter@db.example/shop", "write @ as %40, so that it reads postgres://app%40corp:****@db.example/shop"},
		{"postgres://ap$p:hunter@horse@db.example/shop", "so that it reads postgres://user:****@db.example/shop"},
		{"host=a,b port=1,2,3 user=app password=horse dbname=shop", "names a different number of hosts and ports"},
		{"postgres://app:horse@db/shop?connection_limit=many", "has the parameter connection_limit, which is not a whole number"},
		{"postgres://app:horse@db/shop?statement_cache_size=many", "has the parameter statement_cache_size, which is not a whole number"},
		{"postgres://app:horse@db/shop?pgbouncer=maybe", "has the parameter pgbouncer, which is not true or false"},
		{"postgres://app:horse@db/shop?pool_max_conn_lifetime=soon", "has the parameter pool_max_conn_lifetime, which is not a duration"},
		{" ", "is empty"},
		{"postgres://app:100%sure@db.example/shop", "has a % in the password that is not followed by two hexadecimal digits: write % as %25"},
		{"postgres://app:horse@db.example/shop#main", "contains a #: write # as %23"},
		{"postgres://app:horse@db.example/shop/x", "has a database name with a / or : in it"},
		{"postgres://app:horse@db.example", "names no database: put it at the end: postgres://app:****@db.example:5432/DATABASE"},
		{"postgres://app:horse@db.example:65536/shop", "has a port that is not a number from 1 to 65535"},
		{"postgres://app:horse@db.example:0/shop", "has a port that is not a number from 1 to 65535"},
		{"postgres://app:horse/shop", "has a port that is not a number from 1 to 65535"},
		{"postgres://app:horse@[::1/shop", "has a host that is not a name or an address"},
		{"postgres://app:hunter horse@db/shop", "contains a space: take it out, or write it as %20"},
		{"postgres://app:horse@a%20b/shop", "has a host that is not a name or an address"},
		{"postgres://app:horse@/shop?host=a:5432", "has a host that is not a name or an address"},
		{"postgres://app:horse@a,b:1,c:2/shop?port=1,2", "names a different number of hosts and ports"},
		{"postgres://db.example/shop", "names no user"},
		{"postgres:app:horse@db/shop", "lacks the two slashes"},
		{"Postgres://app:horse@db/shop", "has a scheme in capitals"},
		{"mysql://app:horse@db/shop", "is the address of another database, MySQL"},
		{"mongodb+srv://app:horse@db/shop", "is the address of another database, MongoDB"},
		{"prisma://accelerate.prisma-data.net/?api_key=horse", "is the address of another database, Prisma Accelerate"},
		{"jdbc:postgresql://db/shop?user=app&password=horse", "is a JDBC address"},
		{"postgresql+psycopg2://app:horse@db/shop", "names a driver in its scheme"},
		{"https://app:horse@db/shop", "does not begin with postgres:// or postgresql://"},
		{`"postgres://app:horse@db/shop"`, "begins with a quotation mark"},
		{"psql 'postgres://app:horse@db/shop'", "is a psql command"},
		{"DATABASE_URL=postgres://app:horse@db/shop", "repeats its own name"},
		{"postgres://app:horse@db/shop\nx", "contains a line break"},
		{"app:horse@db/shop", "is neither a URL nor libpq's keyword=value form"},
		{"host=db password='horse", "has a quotation mark that is not closed"},
		{"host=db password=two horse", "is neither a URL nor libpq's keyword=value form"},
		{"postgres://app:horse@db/shop?sslmode=verify", "has a value for sslmode that does not exist: write one of disable, allow, prefer, require, verify-ca or verify-full"},
		{"postgres://app:horse@db/shop?target_session_attrs=master", "has a value for target_session_attrs that does not exist"},
		{"postgres://app:horse@db/shop?colour=red", "has the parameter colour, which is not known: take it out"},
		{"postgres://app@db/shop?password=a&horse=b", "has a parameter that is not known"},
		{"postgres://app:horse@db/shop?colour", "has a parameter without a value"},
		{"postgres://app:horse@db/shop?hostaddr=1.2.3.4", "has the parameter hostaddr"},
		{"postgres://app:horse@db/shop?connect_timeout=5s", "has the parameter connect_timeout, which is not a number of seconds: correct it, or use DATABASE_CONNECT_TIMEOUT"},
		{"postgres://app:horse@db/shop?statement_timeout=soon", "has the parameter statement_timeout, which is not a duration"},
		{"postgres://app:horse@db/shop?sslidentity=id.p12", "has the parameter sslidentity, which names a PKCS#12 file, which Go cannot read: split it with openssl"},
		{"postgres://app:horse@db/shop?sslaccept=maybe", "has the parameter sslaccept"},
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

// TestAccepted are URLs that look odd and are not.
func TestAccepted(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"postgres://app:a:b@localhost/d":                                         "postgres://app:a%3Ab@localhost:5432/d?sslmode=prefer",
		"postgresql://app:%40%2F@localhost/d":                                    "postgres://app:%40%2F@localhost:5432/d?sslmode=prefer",
		" postgres://app@localhost/d\n":                                          "postgres://app@localhost:5432/d?sslmode=prefer",
		"postgres://localhost/d?user=app&password=x%26y":                         "postgres://app:x%26y@localhost:5432/d?sslmode=prefer",
		"postgres://app@/d?host=localhost&port=5433":                             "postgres://app@localhost:5433/d?sslmode=prefer",
		"postgres://app@localhost/d?ssl=true":                                    "postgres://app@localhost:5432/d?sslmode=require",
		"postgres://app@localhost/d?options=-c%20search_path%3Da,b":              "postgres://app@localhost:5432/d?options=-c%20search_path%3Da%2Cb&sslmode=prefer",
		"postgres://app@localhost/d?app.tenant=7&work_mem=8MB":                   "postgres://app@localhost:5432/d?options=-c%20app.tenant%3D7%20-c%20work_mem%3D8MB&sslmode=prefer",
		"postgres://app@localhost/d?gssencmode=disable":                          "postgres://app@localhost:5432/d?sslmode=prefer",
		"postgres://app@localhost/d%20e":                                         "postgres://app@localhost:5432/d%20e?sslmode=prefer",
		"postgres://app@localhost/d?sslmode=":                                    "postgres://app@localhost:5432/d?sslmode=prefer",
		"host=localhost dbname=d user=app options=-capp.next=a://b":              "postgres://app@localhost:5432/d?options=-c%20app.next%3Da%3A//b&sslmode=prefer",
		"host=/run/pg dbname=d user=app":                                         "postgres://app@/d?host=/run/pg&port=5432&sslmode=prefer",
		"postgres://app@/d?host=/run/a,/run/b&port=1,2":                          "postgres://app@/d?host=/run/a%2C/run/b&port=1%2C2&sslmode=prefer",
		"postgres://app@localhost/d?fallback_application_name=a&sslmode=disable": "postgres://app@localhost:5432/d?sslmode=disable",
	} {
		cfg, err := pgconfig.Parse(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		equal(t, url, string(cfg.URL()), want)
		if _, err := cfg.PoolConfig(); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}
