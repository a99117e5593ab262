package dsn_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/page-builder/persistence/pgconfig/internal/dsn"
)

const portWins = "note: the parameter port wins over the part before the parameters"

// TestForm: URLs and keywords in all forms.
func TestForm(t *testing.T) {
	t.Parallel()
	const notHost = "problem: has a host that is not a name or an address: an IPv6 address stands in brackets: " +
		"postgres://user:password@[::1]:5432/database"
	const takeOut = "take it out; a setting of the server goes into options='-c name=value'"
	const comma = "problem: has a comma between its keywords: write a space between them, and nothing else"
	for text, want := range map[string]string{
		"postgres://app:a:b@localhost/d":       "postgres://app:a%3Ab@localhost:/d",
		"postgresql://app:%40%2F%20@h:1/a%20b": "postgres://app:%40%2F%20@h:1/a%20b",
		" postgres://app@h/d\n":                "postgres://app@h:/d",
		"postgres://h":                         "postgres://h:/",
		"postgres://:p@h/d":                    "postgres://:p@h:/d",
		"postgres:///d":                        "postgres:///d",
		"postgres://u@h:/d":                    "postgres://u@h:/d",
		"postgres://u@[fe80::1%25eth0]:1/d":    "postgres://u@[fe80::1%25eth0]:1/d",
		"postgres://u@[::1],[::2]:7/d":         "postgres://u@[::1]:,[::2]:7/d",
		"postgres://u@a:1,b:2/d?port=3":        "postgres://u@a:3,b:3/d\n" + portWins,
		"postgres://u@localhost:5433/d?host=/tmp": "postgres://u@/d?host=/tmp&port=5433\n" +
			"note: the parameter host wins over the part before the parameters",
		"postgres://u@h1:1,h2:2/d?host=a": "problem: names a different number of hosts and ports: " +
			"give one port for all hosts, or one for each",
		"postgres://u@h1:1,h2:2/d?host=a,b": "postgres://u@a:1,b:2/d\n" +
			"note: the parameter host wins over the part before the parameters",
		"postgres://u@h1:5433/d?host=": "postgres://u@:5433/d\n" +
			"note: the parameter host wins over the part before the parameters",
		"postgres://u@h1:5433/d?port=5434": "postgres://u@h1:5434/d\n" + portWins,
		"postgres://u@h1:5433/d?port=5433": "postgres://u@h1:5433/d",
		"postgres://u@a,b/d?port=3,4":      "postgres://u@a:3,b:4/d",
		"postgres://u@a,b/d?port=3,4,5": "problem: names a different number of hosts and ports: " +
			"give one port for all hosts, or one for each",
		"postgres://u@/d?port=3":                      "postgres://u@:3/d",
		"postgres://u@/d?host=/run/a,/run/b&port=1,2": "postgres://u@/d?host=/run/a%2C/run/b&port=1%2C2",
		"postgres://u@%2Frun%2Fpg/d":                  "postgres://u@/d?host=/run/pg&port=",
		"postgres://u@localhost/d?host=/cloudsql/p:r:i": "postgres://u@/d?host=/cloudsql/p%3Ar%3Ai&port=\nnote: the " +
			"parameter host wins over the part before the parameters",
		"postgres://u@a/d?host=a": "postgres://u@a:/d",
		"postgres://u:p@h/d?user=v&password=q&dbname=e": "postgres://v:q@h:/e\nnote: the parameter user wins over " +
			"the part before the parameters\nnote: the parameter password wins over the part before the " +
			"parameters\nnote: the parameter dbname wins over the part before the parameters",
		"postgres://h/d?user=v":          "postgres://v@h:/d",
		"postgres://u@h/d?database=d":    "postgres://u@h:/d",
		"postgres://u@127.1/d":           "postgres://u@127.0.0.1:/d",
		"postgres://u@0/d":               "postgres://u@0.0.0.0:/d",
		"postgres://u@2130706433/d":      "postgres://u@127.0.0.1:/d",
		"postgres://u@1.2.65535/d":       "postgres://u@1.2.255.255:/d",
		"postgres://u@1.65536/d":         "postgres://u@1.1.0.0:/d",
		"postgres://u@0177.0.0.1/d":      "postgres://u@127.0.0.1:/d",
		"postgres://@h/d":                "postgres://h:/d",
		"postgres://u@%21h/d":            notHost,
		"postgres://u@h/%01d":            "problem: has a database name that contains a control character: take it out",
		"postgres://u@h/d?options=-a%5C": `postgres://u@h:/d?options=-a%5C%5C`,
		"postgres://u@0177.1/d":          "postgres://u@127.0.0.1:/d",
		"postgres://u@1.2.65536/d":       notHost,
		"postgres://u@256.1/d":           notHost,
		"postgres://u@255.1/d":           "postgres://u@255.0.0.1:/d",
		"postgres://u@1.2.3.256/d":       notHost,
		"postgres://u@1.2.3.4.5/d":       notHost,
		"postgres://u@1..2/d":            notHost,
		"postgres://u@a%20b/d":           notHost,
		"postgres://u@[::1/d":            notHost,
		"postgres://u@[::1]x/d":          notHost,
		"postgres://u@[::g]/d":           notHost,
		"postgres://u@h:65536/d": "problem: has a port that is not a number from 1 to 65535: " +
			"5432 is PostgreSQL's usual port",
		"postgres://u@h:65535/d": "postgres://u@h:65535/d",
		"postgres://u@h:0/d": "problem: has a port that is not a number from 1 to 65535: " +
			"5432 is PostgreSQL's usual port",
		"postgres://u@h:1/d":                  "postgres://u@h:1/d",
		"postgres://u@h/d?host=%2Frun%2F%01x": notHost,
		"postgres://u:a%2@h/d": "problem: has a % in the password that is not followed by " +
			"two hexadecimal digits: write % as %25",
		"postgres://u:a%00@h/d": "problem: has a NUL character (%00) in the password: take it out: PostgreSQL has none",
		"postgres://u%0A@h/d": "problem: has a user that ends with a line break: take it " +
			"off: echo adds one, printf '%s' does not",
		"postgres://u%0Av@h/d": "problem: has a user that contains a control character: " +
			"take it out",
		"postgres://u:p%0D%0A@h/d": "problem: has a password that ends with a line break: take " +
			"it off: echo adds one, printf '%s' does not",
		"postgres://u:p%0Aq@h/d": "postgres://u:p%0Aq@h:/d",
		"postgres://u@h/d%09": "problem: has a database name that contains a control " +
			"character: take it out",
		"postgres://u:a+b%21@h/d": "postgres://u:a%2Bb%21@h:/d\nnote: the password has a + " +
			"and a %: a + stands for itself, so write a space as %20",
		"postgres://u:a+b@h/d":  "postgres://u:a%2Bb@h:/d",
		"postgres://u:a%21@h/d": "postgres://u:a%21@h:/d",

		"host=h dbname = d user=u password='it\\'s two' port=1": "postgres://u:it%27s%20two@h:1/d",
		"user='' host=h dbname=d":                               "postgres://h:/d",
		`host=h user=a\ b dbname=d password=x\`:                 "postgres://a%20b:x@h:/d",
		"host=h\ndbname=d\tuser=u":                              "postgres://u@h:/d",
		"host=h user=u ssl=true": "postgres://u@h:/?sslmode=require\nnote: ssl " +
			"became sslmode=require",
		"host=h:1 user=u": "problem: has a host that is not a name or an " +
			"address: the port is a setting of its own, and an IPv6 address has no brackets",
		"host=[::1] user=u": "problem: has a host that is not a name or an " +
			"address: the port is a setting of its own, and an IPv6 address has no brackets",
		"host=h tint=red user=u":           "problem: has the parameter tint, which is not known: " + takeOut,
		"tint=red host=h":                  "problem: has a parameter that is not known: " + takeOut,
		"password=a horse=b":               "problem: has a parameter that is not known: " + takeOut,
		"host=h password=a user=u horse=b": "problem: has a parameter that is not known: " + takeOut,
		"host=h horse=b cow=c": "problem: has the parameter horse, which is not known: " + takeOut +
			"\nproblem: has a parameter that is not known: " + takeOut,
		"host=h app.key=7 user=u":          "postgres://u@h:/?options=-c%20app.key%3D7",
		"host=h password=a app.key=7":      "problem: has a parameter that is not known: " + takeOut,
		"host=h, user=u":                   comma,
		"host=h user=u, password=p":        comma,
		"host='h,' user=u":                 "postgres://u@h:,:/",
		"host= 'h,' user=u":                "postgres://u@h:,:/",
		"host=h user=u password=p, port=1": "postgres://u:p%2C@h:1/",
		"user=u host=h,":                   "postgres://u@h:,:/",
		"host=a host=b": "problem: has a host that is there twice: take one " +
			"of them out",
		"host=h user": "problem: is neither a URL nor libpq's " +
			"keyword=value form: write postgres://user:password@host:5432/database, or host=… user=… dbname=…; a " +
			"value with spaces stands in single quotes",
		"=h": "problem: is neither a URL nor libpq's " +
			"keyword=value form: write postgres://user:password@host:5432/database, or host=… user=… dbname=…; a " +
			"value with spaces stands in single quotes",
		"host=h us er=u": "problem: is neither a URL nor libpq's " +
			"keyword=value form: write postgres://user:password@host:5432/database, or host=… user=… dbname=…; a " +
			"value with spaces stands in single quotes",
		"host=h password='p": "problem: has a quotation mark that is not closed: " +
			"write postgres://user:password@host:5432/database, or host=… user=… dbname=…; a value with spaces " +
			"stands in single quotes",
		"host=h password='p\\'": "problem: has a quotation mark that is not closed: " +
			"write postgres://user:password@host:5432/database, or host=… user=… dbname=…; a value with spaces " +
			"stands in single quotes",
		"host= user=u": "problem: has a host that is not a name or an " +
			"address: the port is a setting of its own, and an IPv6 address has no brackets",
		"port=6000 user=a": "postgres://a@:6000/",
		"port=1,2 user=a":  "postgres://a@:1,:2/",
		"dbname=":          "postgres:///",
		"": "problem: is empty: the form is " +
			"postgres://user:password@host:5432/database",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			equal(t, describe(text), want)
		})
	}
}

// TestComma: without an @ the password cannot be told from the rest, so nothing is shown.
func TestComma(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"postgres://app:hunter,secret/shop", "postgres://app:1,hunter:secret/shop",
		"postgres://app:hunter/shop", "postgres://app:12,hunter/shop", "postgres://app:1,hunter:2/shop",
		"postgres://app:12,hunter2",
	} {
		d, problems := dsn.Parse(text)
		if len(problems) != 1 || !strings.HasPrefix(problems[0].Sentence(), "has a port that is not a number") &&
			!strings.HasPrefix(problems[0].Sentence(), "has several hosts with a port and no user") {
			t.Errorf("%v", problems)
		}
		if d.Params != nil || d.Hosts != nil {
			t.Errorf("%+v is certain", d)
		}
	}
	equal(t, describe("postgres://a:1,b:2/d?user=u"), "postgres://u@a:1,b:2/d")
}

func TestSplit(t *testing.T) {
	t.Parallel()
	for list, want := range map[string][]string{
		"":                                nil,
		" , ":                             nil,
		"postgres://a/d":                  {"postgres://a/d"},
		"postgres://a,b/d,postgres://c/d": {"postgres://a,b/d", "postgres://c/d"},
		"postgres://a/d postgres://c/d\npostgresql://e/f;": {
			"postgres://a/d", "postgres://c/d",
			"postgresql://e/f",
		},
		"postgres://u:it's@a/d, postgres://u:p\\@c/d, mysql://x": {
			"postgres://u:it's@a/d", "postgres://u:p\\@c/d",
			"mysql://x",
		},
		"host=a dbname=d, host=b dbname=d":     {"host=a dbname=d", "host=b dbname=d"},
		"host=a dbname=d\nhost = b":            {"host=a dbname=d", "host = b"},
		"host=a dbname=d;user=u host=b":        {"host=a dbname=d", "user=u host=b"},
		"host=a\nuser=u\ndbname=d":             {"host=a\nuser=u\ndbname=d"},
		"host=a\nuser=u\nhost=b\nuser=u":       {"host=a\nuser=u", "host=b\nuser=u"},
		"postgres://a/d\nhost=b\nuser=u":       {"postgres://a/d", "host=b\nuser=u"},
		"host=a,b port=1,2":                    {"host=a,b port=1,2"},
		"host=a password='x, host=b' , host=c": {"host=a password='x, host=b'", "host=c"},
		`host=a password='x\', host=b',host=c`: {`host=a password='x\', host=b'`, "host=c"},
		"host=a options=-cx.y=1,tint=2":        {"host=a options=-cx.y=1,tint=2"},
		"host=a password= 'x, host=b'":         {"host=a password= 'x, host=b'"},
		"host=a,postgres://b/c":                {"host=a", "postgres://b/c"},
		"postgres://a/d,host=b":                {"postgres://a/d", "host=b"},
		"postgres://a/d,://b":                  {"postgres://a/d,://b"},
	} {
		if diff := cmp.Diff(want, dsn.Split(list)); diff != "" {
			t.Errorf("%q: %s", list, diff)
		}
	}
}

// TestSplitLong: the time grows with the length, not with its square.
func TestSplitLong(t *testing.T) {
	t.Parallel()
	const n = 500_000
	start := time.Now()
	dsn.Split("postgres://u@h" + strings.Repeat(",h", n) + "/d")
	dsn.Split(strings.Repeat("host=h user=u, ", n/8))
	if took := time.Since(start); took > time.Minute { // a tenth of a second; minutes with the square
		t.Errorf("took %v", took)
	}
}

// TestProblem: the error shows the corrected form and no part of a secret.
func TestProblem(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		url  string
		want string
	}{
		{
			"postgres://app:hun@ter/horse@db.example:5432/shop?sslmode=require",
			"write @ as %40, / as %2F, so that it reads postgres://app:****@db.example:5432/shop?…",
		},
		{
			"postgres://app:hunter@horse@db.example/shop",
			"write @ as %40, so that it reads postgres://app:****@db.example/shop",
		},
		{
			"postgres://app:hunter/horse@db.example/shop",
			"write / as %2F, so that it reads postgres://app:****@db.example/shop",
		},
		{
			"postgres://app:hunter#horse@db.example/shop",
			"write # as %23, so that it reads postgres://app:****@db.example/shop",
		},
		{
			"postgres://app:hunter?horse@db.example/shop",
			"write ? as %3F, so that it reads postgres://app:****@db.example/shop",
		},
		{
			"postgres://app:hunter@horse?x=y@db.example/shop",
			"write @ as %40, ? as %3F, so that it reads postgres://app:****@db.example/shop",
		},
		{
			"postgres://app:x@db.example/shop?password=hunter@horse/hors",
			"so that it reads postgres://app:****@host:5432/database",
		},
		{
			"postgres://app@corp:hunter@db.example/shop",
			"write @ as %40, so that it reads postgres://app%40corp:****@db.example/shop",
		},
		{"postgres://ap$p:hunter@horse@db.example/shop", "so that it reads postgres://user:****@db.example/shop"},
		{
			"postgres://app:horse@db/shop?connection_limit=many",
			"has the parameter connection_limit, which is not a whole number",
		},
		{
			"postgres://app:horse@db/shop?statement_cache_size=many",
			"has the parameter statement_cache_size, which is not a whole number",
		},
		{"postgres://app:horse@db/shop?pgbouncer=maybe", "has the parameter pgbouncer, which is not true or false"},
		{
			"postgres://app:horse@db/shop?pool_max_conn_lifetime=soon",
			"has the parameter pool_max_conn_lifetime, which is not a duration",
		},
		{" ", "is empty"},
		{
			"postgres://app:100%sure@db.example/shop",
			"has a % in the password that is not followed by two hexadecimal digits: write % as %25",
		},
		{"postgres://app:horse@db.example/shop#main", "contains a #: write # as %23"},
		{"postgres://app:horse@db.example/shop/x", "has a database name with a / or : in it"},
		{"postgres://app:horse@db.example:65536/shop", "has a port that is not a number from 1 to 65535"},
		{"postgres://app:horse@db.example:0/shop", "has a port that is not a number from 1 to 65535"},
		{"postgres://app:horse/shop", "has a port that is not a number from 1 to 65535"},
		{"host=<host>,a:b user=app password=horse", "has a host that is not a name or an address"},
		{"postgres://app:horse@[::1/shop", "has a host that is not a name or an address"},
		{"postgres://app:horse@::1/shop", "has a host that is not a name or an address: an IPv6 address stands in brackets"},
		{"postgres://app:hunter horse@db/shop", "contains a space: take it out, or write it as %20"},
		{"postgres://app:horse@a%20b/shop", "has a host that is not a name or an address"},
		{"postgres://app:horse@/shop?host=a:5432", "has a host that is not a name or an address"},
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
		{
			"Server=db;Database=shop;User Id=app;Password=horse",
			"is in the form of .NET or ODBC: the form is postgres://user:password@host:5432/database",
		},
		{"User ID=app;Password=horse;Host=db", "is in the form of .NET or ODBC"},
		{"Host=db;Username=app;Password=horse", "is in the form of .NET or ODBC"},
		{"host=db password='horse", "has a quotation mark that is not closed"},
		{"host=db password=two horse", "is neither a URL nor libpq's keyword=value form"},
		{
			"postgres://app:horse@db/shop?sslmode=verify",
			"has a value for sslmode that does not exist: write one of disable, allow, prefer, require, verify-ca " +
				"or verify-full",
		},
		{
			"postgres://app:horse@db/shop?target_session_attrs=master",
			"has a value for target_session_attrs that does not exist",
		},
		{"postgres://app:horse@db/shop?tint=red", "has the parameter tint, which is not known: take it out"},
		{"postgres://app@db/shop?password=a&horse=b", "has a parameter that is not known"},
		{"postgres://app:horse@db/shop?tint", "has a parameter without a value"},
		{"postgres://app:horse@db/shop?hostaddr=1.2.3.4", "has the parameter hostaddr"},
		{
			"postgres://app:horse@db/shop?statement_timeout=soon",
			"has the parameter statement_timeout, which is not a duration",
		},
		{
			"postgres://app:horse@db/shop?sslidentity=id.p12",
			"has the parameter sslidentity, which names a PKCS#12 file, which Go cannot read: split it with openssl",
		},
		{"postgres://app:horse@db/shop?sslaccept=maybe", "has the parameter sslaccept"},
		{"postgresql:app:horse@db/shop", "lacks the two slashes"},
		{"PostgreSQL://app:horse@db/shop", "has a scheme in capitals"},
		{"postgres+asyncpg://app:horse@db/shop", "names a driver in its scheme"},
		{"'postgres://app:horse@db/shop'", "begins with a quotation mark"},
		{"`postgres://app:horse@db/shop`", "begins with a quotation mark"},
		{"DIRECT_DATABASE_URL=postgres://app:horse@db/shop", "repeats its own name"},
		{"export DATABASE_URL=postgres://app:horse@db/shop", "repeats its own name"},
		{"postgres://hunter@horse@db.example/shop", "so that it reads postgres://user:****@host:5432/database"},
		{
			"postgres://hunter/horse@db.example/shop",
			"write / as %2F, so that it reads postgres://user:****@host:5432/database",
		},
		{"postgres://app:hunter@horse@db.example", "so that it reads postgres://app:****@host:5432/database"},
		{"postgres://app:hunter@horse@db.example/shop:1", "so that it reads postgres://app:****@host:5432/database"},
		{"postgres://app:hunter@horse@db.example/shop?x=y", "so that it reads postgres://app:****@db.example/shop?…"},
		{"postgres://app:hunter@horse@[::1]:5432/shop", "so that it reads postgres://app:****@[::1]:5432/shop"},
		{
			"postgres://ap/p:hunter@db.example/shop",
			"write / as %2F, so that it reads postgres://user:****@db.example/shop",
		},
		{"postgres://app:horse@db.example/shop?a#b", "contains a #"},
		{"postgres://app:horse@db.example#x/shop", "contains a #"},
		{"postgres://app:horse@db.example/sh:op", "has a database name with a / or : in it"},
		{"postgres://app:horse@db/shop\x7f", "contains a line break or another control character"},
	} {
		t.Run(test.url, func(t *testing.T) {
			t.Parallel()
			text := describe(test.url)
			if !strings.Contains(text, test.want) {
				t.Errorf("want %q in\n%s", test.want, text)
			}
			for _, secret := range []string{"hunt", "hun@", "ter/", "hors", "sure"} {
				if strings.Contains(text, secret) {
					t.Errorf("%q appears in\n%s", secret, text)
				}
			}
		})
	}
	d, problems := dsn.Parse("host=db options=-capp.next=a://b")
	if len(problems) > 0 || d.Settings["app.next"] != "a://b" {
		t.Error(problems)
	}
}
