package dsn_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/page-builder/persistence/pgconfig/internal/dsn"
)

// describe writes everything that Parse found, one item a line.
func describe(text string) string {
	d, problems := dsn.Parse(text)
	var lines []string
	for _, p := range problems {
		lines = append(lines, "problem: "+p.Sentence()+": "+p.Hint)
	}
	if len(problems) == 0 {
		lines = append(lines, d.URL())
		for _, name := range slices.Sorted(maps.Keys(d.Limits)) {
			lines = append(lines, fmt.Sprintf("%s=%s by %s", name, d.Limits[name].Text, d.Limits[name].Param))
		}
		for _, name := range slices.Sorted(maps.Keys(d.Params)) {
			if dsn.IsPgx(name) {
				lines = append(lines, name+"="+d.Params[name])
			}
		}
		for _, n := range d.Notes {
			lines = append(lines, "note: "+n)
		}
	}
	return strings.Join(lines, "\n")
}

func equal(t *testing.T, got, want string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestMeantEnv: a misspelled variable is recognized.
func TestMeantEnv(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"PGPASWORD": "PGPASSWORD", "PGPASSWORDS": "PGPASSWORD", "PGPASSW0RD": "PGPASSWORD",
		"PGCONNECTTIMEOUT": "PGCONNECT_TIMEOUT", "PG_HOST": "PGHOST", "PGTX_URL": "", "PG_VERSION": "", "PGX": "",
		"DATABASE_URL": "", "P": "",
	} {
		equal(t, name+" "+dsn.MeantEnv(name), name+" "+want)
	}
}

func TestLocal(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST": true, "localhost.": true, "127.0.0.1": true, "127.9.9.9": true, "127.1": true,
		"0.0.0.0": true, "0": true,
		"/run/pg": true, "db": false, "10.0.0.1": false, "localhost.example.com": false, "128.0.0.1": false,
		"1.0.0.127": false,
	} {
		d, _ := dsn.Parse("postgres://u@" + strings.ReplaceAll(host, "/", "%2F") + "/d")
		if d.Local() != want {
			t.Errorf("%s: %t", host, d.Local())
		}
		if got := len(d.RemoteHosts()); (got == 0) != want {
			t.Errorf("%s: %d remote hosts", host, got)
		}
	}
	for host, want := range map[string]bool{
		"::1": true, "::": true, "::ffff:127.0.0.1": true, "::ffff:0.0.0.0": true,
		"::2": false,
	} {
		d, _ := dsn.Parse("postgres://u@[" + host + "]/d")
		if d.Local() != want {
			t.Errorf("%s: %t", host, d.Local())
		}
	}
	both, _ := dsn.Parse("postgres://u@localhost,db,/d")
	if both.Local() || (dsn.DSN{}).Local() || strings.Join(both.RemoteHosts(), " ") != "db" {
		t.Errorf("%v", both.RemoteHosts())
	}
}

func TestFill(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		to, from string
		want     string
		taken    string
		mismatch bool
	}{
		{
			"user=u", "host=h port=1 dbname=d user=x password=p sslmode=require work_mem=1MB connect_timeout=3 " +
				"options=endpoint=e", "postgres://u:p@h:1/d?options=endpoint%3De%20-c%20work_mem%3D1MB&sslmode=require",
			"host port database password sslmode work_mem DATABASE_CONNECT_TIMEOUT options", false,
		},
		{
			"host=h user=u dbname=d password=p sslmode=disable work_mem=2MB options=-a",
			"host=x user=x dbname=x password=x sslmode=require work_mem=1MB options=-b",
			"postgres://u:p@h:/d?options=-a%20-c%20work_mem%3D2MB&sslmode=disable", "", false,
		},
		{"host=a,b", "port=1,2", "postgres://a:1,b:2/", "port", false},
		{"host=a,b", "port=1,1,1", "postgres://a:1,b:1/", "port", false},
		{"host=a,b", "port=1,2,3", "postgres://a:,b:/", "", true},
		{"host=a port=7", "port=1,2", "postgres://a:7/", "", false},
		{"host=a,b port=7,", "port=1", "postgres://a:7,b:/", "", false},
		{"host=a,b port=7,", "port=1,2,3", "postgres://a:7,b:/", "", false},
		{"postgres://u@a:7,b", "port=1", "postgres://u@a:7,b:/", "", false},
		{"host=a,b port=7,8", "port=1", "postgres://a:7,b:8/", "", false},
		{"port=7", "host=a,b port=1,2", "postgres://a:7,b:7/", "host", false},
		{"host=,", "host=a", "postgres://a:/", "host", false},
		{"port=7,8", "host=a", "postgres:///", "host", true},
		{"user=u", "port=7", "postgres://u@:7/", "port", false},
		{"host=a", "user=u", "postgres://u@a:/", "user", false},
	} {
		t.Run(test.to+" from "+test.from, func(t *testing.T) {
			t.Parallel()
			to, problems := dsn.Parse(test.to)
			from, more := dsn.Parse(test.from)
			if len(problems)+len(more) > 0 {
				t.Fatal(problems, more)
			}
			taken, ok := to.Fill(from)
			equal(t, to.URL(), test.want)
			equal(t, strings.Join(taken, " "), test.taken)
			if ok == test.mismatch {
				t.Errorf("ok is %t", ok)
			}
		})
	}
	var empty dsn.DSN
	from, _ := dsn.Parse("postgres://u@h/d?work_mem=1MB&sslmode=require")
	empty.Fill(from)
	empty.Settings["work_mem"] = "9MB"
	equal(t, from.Settings["work_mem"], "1MB")
}

func TestNames(t *testing.T) {
	t.Parallel()
	full, _ := dsn.Parse("postgres://u:p@h:1/d")
	for _, param := range []string{"host", "port", "user", "password", "dbname"} {
		if !full.Names(param) || (dsn.DSN{}).Names(param) {
			t.Error(param)
		}
	}
	if full.Names("sslmode") {
		t.Error("sslmode")
	}
	left, _ := dsn.Parse("postgres://h/d?ssl=true&gssencmode=disable&client_encoding=") // what is left out counts too
	if !left.Names("sslmode") || !left.Names("gssencmode") || !left.Names("client_encoding") || left.Names("sslcert") {
		t.Error("parameters")
	}
	full.Fill(left)
	if !full.Names("gssencmode") {
		t.Error("after Fill")
	}
}

func TestMasked(t *testing.T) {
	t.Parallel()
	d, problems := dsn.Parse(
		"postgres://u:hidden@h:1/d?sslpassword=hidden&default_query_exec_mode=exec&sslmode=require",
	)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	equal(t, d.Masked(), "postgres://u:****@h:1/d?default_query_exec_mode=exec&sslmode=require&sslpassword=****")
	d, _ = dsn.Parse("postgres://u@h:1/d?app.key=hidden&work_mem=1MB")
	equal(t, d.Masked(), "postgres://u@h:1/d?options=-c%20app.key%3D%2A%2A%2A%2A%20-c%20work_mem%3D1MB")
	equal(t, d.URL(), "postgres://u@h:1/d?options=-c%20app.key%3Dhidden%20-c%20work_mem%3D1MB")
}

func TestClone(t *testing.T) {
	t.Parallel()
	d, _ := dsn.Parse("postgres://u:hidden@h:1/d?sslpassword=hidden&sslmode=require")
	copied := d.Clone()
	copied.Hosts[0].Host, copied.Params["sslmode"] = "x", "disable"
	equal(t, d.URL(), "postgres://u:hidden@h:1/d?sslmode=require&sslpassword=hidden")
}

func TestFromEnv(t *testing.T) {
	t.Parallel()
	for variable, want := range map[string]string{
		"PGHOST": "host", "PGDATABASE": "dbname", "PGTZ": "timezone",
		"PGDATA": "", "HOME": "",
	} {
		equal(t, dsn.FromEnv(variable), want)
	}
}
