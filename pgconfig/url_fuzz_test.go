package pgconfig_test

import (
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgconfig"
)

// FuzzURL: a connection string that is accepted means the same to pgx, as it stands and in the form
// that Config.URL gives it, and that form is accepted again.
func FuzzURL(f *testing.F) {
	for _, name := range hostile {
		if name != "USER" && os.Getenv(name) != "" {
			f.Skipf("%s is set, and pgx would read it", name)
		}
	}
	for _, seed := range []string{
		"postgres://app:word@localhost/shop", "postgresql://app@127.0.0.1:5433/shop?sslmode=disable",
		"postgres://a:b:c@[::1]:1/d",
		"postgres://u:%40%2F%25@localhost/a%20b", "postgres://u@/d?host=/run/pg&port=1", "postgres://u@%2Frun%2Fpg/d",
		"postgres://a,b:2/d?user=u&password=p",
		"host=localhost dbname=d user=u password='x y' port=5433", `user=a\ b host=/tmp dbname='it\'s'`,
		"postgres://u@localhost:,b:1/d",
		"postgres://u@h/d?dbname=e&host=i", "postgres://u@h1,h2/d?port=1,2", "host=a,b port=1 user=u dbname=d",
		"postgres://u:p@h:5432,[::1]/d?port=7",
		"postgres://u@h/d?password=&user=", "postgres://:p@h/d?user=u", "user= host=h dbname=d",
		"postgres://u@h/?database=x", "dbname=d user=u host=h,",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		load := func(text string) (pgconfig.Config, error) {
			return pgconfig.LoadFrom(pgconfig.Source{Environ: env{"APP_ENV": "test", "DATABASE_URL": text}})
		}
		cfg, err := load(text)
		if err != nil {
			return
		}
		canonical := string(cfg.URL())
		again, err := load(canonical)
		if err != nil {
			t.Fatalf("%q became %q, which is refused: %v", text, canonical, err)
		}
		equal(t, "the URL of the URL", string(again.URL()), canonical)
		if _, err := url.Parse(canonical); err != nil && !strings.Contains(canonical, ",") {
			t.Errorf("%q is not a URL to net/url", canonical)
		}

		ours, err := cfg.DirectConfig()
		if err != nil {
			return // behind PgBouncer
		}
		theirs, err := pgx.ParseConfig(canonical)
		if err != nil {
			t.Fatalf("%q: pgx refuses %q", text, canonical)
		}
		same(t, canonical, ours, theirs)
		if theirs, err = pgx.ParseConfig(strings.TrimSpace(text)); err == nil &&
			strings.HasPrefix(theirs.Host, "/") == strings.HasPrefix(ours.Host, "/") {
			// Where no host is given pgx goes to a socket and this package in development to
			// localhost.
			same(t, text, ours, theirs)
		}
	})
}

func same(t *testing.T, text string, ours, theirs *pgx.ConnConfig) {
	t.Helper()
	type login struct {
		host, user, password, database string
		port                           uint16
	}
	us := login{ours.Host, ours.User, ours.Password, ours.Database, ours.Port}
	them := login{theirs.Host, theirs.User, theirs.Password, theirs.Database, theirs.Port}
	if us != them {
		t.Errorf("%q is %+v here and %+v to pgx", text, us, them)
	}
}
