package pgconfig_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// seeds are connection strings of all kinds.
var seeds = []string{
	"postgres://app:word@localhost/shop", "postgresql://app@127.0.0.1:5433/shop?sslmode=disable",
	"postgres://a:b:c@[::1]:1/d",
	"postgres://u:%40%2F%25@localhost/a%20b", "postgres://u@/d?host=/run/pg&port=1", "postgres://u@%2Frun%2Fpg/d",
	"postgres://a,b:2/d?user=u&password=p", "host=localhost dbname=d user=u password='x y' port=5433",
	`user=a\ b host=/tmp dbname='it\'s'`, "postgres://u@localhost:,b:1/d", "postgres://u@h/d?dbname=e&host=i",
	"postgres://u@h1,h2/d?port=1,2", "host=a,b port=1 user=u dbname=d", "postgres://u:p@h:5432,[::1]/d?port=7",
	"postgres://u@h/d?password=&user=", "postgres://:p@h/d?user=u", "user= host=h dbname=d",
	"postgres://u@h/?database=x",
	"dbname=d user=u host=h,", "postgres://u@h/d?search_path=a,%20%22B%20c%22",
	"postgres://u@h/d?TimeZone=UTC&work_mem=8MB&app.x=a%5Cb%20c",
	"postgres://u@h/d?ssl=true", "postgres://u@h/d?ssl=0", "postgres://u@[fe80::1%25lo]:5432/d", "postgres://u@127.1/d",
	"postgres://u@h/d?options=-c%20work_mem%3D8MB%20--jit%3Doff",
	"postgres://u@h/d?schema=My%20App&statement_cache_size=0",
	"postgres://u@h/d?default_query_exec_mode=exec&connect_timeout=3&application_name=a%20b",
	"postgres://u:a%20b%2Bc@h/d",
	"postgres://u@h/d?target_session_attrs=any&channel_binding=prefer&sslsni=1", "postgres://u@h/d?jit=%C3%A4",
	"postgres://u@h/d?currentSchema=a,b&ApplicationName=w&uselibpqcompat=true",
	"host=h user=u dbname=d options='-c a.b=\\'c\\''",
}

// FuzzURL: an accepted connection string means the same to pgx, as given and in the form of
// Config.URL. That form is accepted again, by this package and by psql.
func FuzzURL(f *testing.F) {
	for _, name := range hostile {
		if name != "USER" && os.Getenv(name) != "" {
			f.Skipf("%s is set, and pgx would read it", name)
		}
	}
	for _, seed := range seeds {
		f.Add(seed)
	}
	psql := newPsql(f)
	f.Fuzz(func(t *testing.T, text string) {
		load := func(text string) (pgconfig.Config, error) {
			return pgconfig.LoadFrom(pgconfig.Source{Environ: env{"APP_ENV": "test", "DATABASE_URL": text}})
		}
		cfg, err := load(text)
		if err != nil {
			return
		}
		canonical := cfg.URL().Reveal()
		again, err := load(canonical)
		if err != nil {
			t.Fatalf("%q became %q, which is refused: %v", text, canonical, err)
		}
		equal(t, "the URL of the URL", again.URL().Reveal(), canonical)
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
		theirs, err = pgx.ParseConfig(strings.TrimSpace(text))
		if err == nil && strings.HasPrefix(theirs.Host, "/") == strings.HasPrefix(ours.Host, "/") &&
			strings.Trim(theirs.Host, "0123456789.") != "" {
			// Without a host, pgx connects to a socket, and this package to localhost in
			// development. It also writes 127.1 as libpq reads it.
			same(t, text, ours, theirs)
		}
		psql.compare(t, canonical, ours)
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

// psql runs URLs on a server of this test, whatever host they name.
type psql struct {
	path   string
	server *pgx.ConnConfig
	seen   sync.Map // forms of URLs compared so far, because psql takes a while
}

func newPsql(tb testing.TB) *psql {
	path, err := exec.LookPath("psql")
	if err != nil {
		return nil
	}
	server, err := pgx.ParseConfig(pgserver.Database(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return &psql{path: path, server: server}
}

// words match the parts that do not matter for the form of an address.
var words = regexp.MustCompile(`[A-Za-z0-9._~-]+`)

// compare checks that psql accepts a URL exactly if pgx accepts the configuration that it came
// from. It replaces the address and the login with the server's.
func (p *psql) compare(t *testing.T, canonical string, ours *pgx.ConnConfig) {
	t.Helper()
	if p == nil {
		return // no psql on this machine
	}
	address, query, _ := strings.Cut(canonical, "?")
	for _, newer := range []string{"require_auth", "protocol_version", "sslnegotiation", "sslcertmode"} {
		if strings.Contains(query, newer) {
			return // newer than the psql of some machines
		}
	}
	if _, seen := p.seen.LoadOrStore(words.ReplaceAllString(address, "w")+"?"+query, true); seen {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := p.server
	replaced := fmt.Sprintf("%s?%s&host=%s&port=%d&user=%s&password=%s&dbname=%s&sslmode=disable"+
		"&target_session_attrs=any&channel_binding=prefer",
		address, query, url.PathEscape(s.Host), s.Port, s.User, s.Password, s.Database)
	cmd := exec.CommandContext(ctx, p.path, "-XAtc", "select 1", strings.Replace(replaced, "?&", "?", 1))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C"}
	out, err := cmd.CombinedOutput()

	ours = ours.Copy()
	ours.Host, ours.Port, ours.User, ours.Password, ours.Database = s.Host, s.Port, s.User, s.Password, s.Database
	ours.TLSConfig, ours.Fallbacks, ours.ValidateConnect, ours.DialFunc = nil, nil, nil, s.DialFunc
	conn, ourErr := pgx.ConnectConfig(ctx, ours)
	if ourErr == nil {
		_ = conn.Close(ctx)
	}
	if (err == nil) != (ourErr == nil) {
		t.Errorf("psql says %q of %q, pgx %v", out, canonical, ourErr)
	}
}

// TestPsql runs psql "$(URL)" and asks the server for the settings that arrived.
func TestPsql(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("psql")
	if err != nil {
		t.Skip("no psql on this machine")
	}
	cfg := load(t, env{
		"APP_ENV": "test",
		"DATABASE_URL": pgserver.Database(t) +
			"&search_path=public,%20%22My%20Schema%22&TimeZone=Asia/Tokyo&work_mem=7MB&app.x=a%5Cb%20%27c" +
			"&statement_cache_size=0&pool_max_conns=3",
	})
	cmd := exec.Command(path, "-XAtc",
		"select current_setting('search_path'), current_setting('timezone'), current_setting('work_mem'), "+
			"current_setting('app.x')",
		cfg.URL().Reveal())
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	equal(t, "settings", strings.TrimSpace(string(out)), `public, "My Schema"|Asia/Tokyo|7MB|a\b 'c`)
}
