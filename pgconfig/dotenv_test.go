package pgconfig_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgconfig"
)

func TestDotEnv(t *testing.T) {
	t.Parallel()
	const local, remote = "DATABASE_URL=postgres://u:fromfile@localhost/d\n",
		"DATABASE_URL=postgres://u:fromfile@db/d\n"
	for _, test := range []struct {
		name    string
		dotenv  string
		environ env
		url     string // or
		refusal string
	}{
		{"development", remote, env{"APP_ENV": "development"}, "postgres://u:fromfile@db:5432/d?sslmode=prefer", ""},
		{"test", remote, env{"APP_ENV": "test"}, "postgres://u:fromfile@db:5432/d?sslmode=prefer", ""},
		{"production", remote, env{"APP_ENV": "production"}, "", "DATABASE_URL is not set"},
		{"staging", local, env{"APP_ENV": "staging"}, "", "DATABASE_URL is not set"},
		{"unknown", local, env{"APP_ENV": "dev"}, "", "did you mean development?"},
		{
			"environment is stronger", local,
			env{"APP_ENV": "test", "DATABASE_URL": "postgres://u@x/d"},
			"postgres://u@x:5432/d?sslmode=prefer", "",
		},
		{
			"URL in a file is stronger", local,
			env{"APP_ENV": "test", "DATABASE_URL_FILE": "/nothing"},
			"",
			"DATABASE_URL_FILE names a file that does not exist",
		},
		{"unset, database here", local, env{}, "postgres://u:fromfile@localhost:5432/d?sslmode=prefer", ""},
		{
			"unset, development in the file", "APP_ENV=development\n" + local,
			env{},
			"postgres://u:fromfile@localhost:5432/d?sslmode=prefer", "",
		},
		{
			"unset, database elsewhere", remote,
			env{},
			"",
			"APP_ENV is not set, and .env names a database on another machine",
		},
		{
			"unset, development in the file, database elsewhere", "APP_ENV=development\n" + remote,
			env{},
			"",
			"APP_ENV is not set, and .env names a database on another machine",
		},
		{
			"unset, direct elsewhere", local + "DIRECT_DATABASE_URL=postgres://u:p@db/d",
			env{},
			"",
			"APP_ENV is not set, and .env names a database on another machine",
		},
		{
			"unset, direct here", remote + "DIRECT_DATABASE_URL=postgres://u:p@localhost/d",
			env{},
			"",
			"APP_ENV is not set, and .env names a database on another machine",
		},
		{
			"unset, production in the file", "APP_ENV=production\n" + local,
			env{},
			"",
			"APP_ENV is production in .env, which is not read there",
		},
		{
			"unset, environment names a database", "DATABASE_ALLOW_INSECURE_TLS=1\n" + local,
			env{"DATABASE_URL": "postgres://u:p@db/d?sslmode=disable"},
			"", "connects to db with sslmode=disable",
		},
		{
			"unset, PGHOST", "PGPASSWORD=x\n",
			env{"PGHOST": "localhost", "PGDATABASE": "d", "PGUSER": "u"},
			"postgres://u@localhost:5432/d?sslmode=prefer", "",
		},
		{
			"PG variables", "PGHOST=localhost\nPGDATABASE=d\nexport PGUSER='u'\n",
			env{"APP_ENV": "test"},
			"postgres://u@localhost:5432/d?sslmode=prefer", "",
		},
		{
			"other variables are not taken", local + "HOME=" + "/nothing\nUSER=x\n",
			env{"APP_ENV": "test"},
			"postgres://u:fromfile@localhost:5432/d?sslmode=prefer", "",
		},
		{
			"byte order mark", "\ufeff" + local,
			env{"APP_ENV": "test"},
			"postgres://u:fromfile@localhost:5432/d?sslmode=prefer", "",
		},
		{
			"broken line", "# the database\n" + local + "DATABASE_APPLICATION_NAME='two\nlines'\nhidden-hidden\n",
			env{"APP_ENV": "test"},
			"", " line 5 is not of the form NAME=value",
		},
		{
			"$ in a password", "DATABASE_URL=postgres://u:hidden$PASS@localhost/d\n",
			env{"APP_ENV": "test"},
			"",
			" has a $ in DATABASE_URL that may be taken for a variable: put it in single quotes",
		},
		{
			"$ in double quotes", "export PGPASSWORD=\"hidden${X1}\"\n",
			env{"APP_ENV": "test"},
			"",
			" has a $ in PGPASSWORD that may be taken for a variable",
		},
		{
			"$ in single quotes", "DATABASE_URL='postgres://u:a$PASS@localhost/d'\n",
			env{"APP_ENV": "test"},
			"postgres://u:a%24PASS@localhost:5432/d?sslmode=prefer", "",
		},
		{
			"$ of a variable", "DB_WORD=x\nDATABASE_URL=postgres://u:a${DB_WORD}@localhost/d\n",
			env{"APP_ENV": "test"},
			"postgres://u:ax@localhost:5432/d?sslmode=prefer", "",
		},
		{
			"escaped $", "DATABASE_URL=postgres://u:a\\$PASS@localhost/d\n",
			env{"APP_ENV": "test"},
			"postgres://u:a%24PASS@localhost:5432/d?sslmode=prefer", "",
		},
		{
			"quotation mark not closed", local + "PGUSER='hidden\n",
			env{"APP_ENV": "test"},
			"",
			" line 2 is not of the form NAME=value",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := file(t, "dotenv", test.dotenv)
			if test.refusal != "" {
				text := refused(t, pgconfig.Source{Environ: test.environ, DotEnv: []string{path}})
				if !strings.Contains(text, test.refusal) || strings.Contains(text, "fromfile") ||
					strings.Contains(text, "hidden") {
					t.Errorf("want %q in %q", test.refusal, text)
				}
				return
			}
			cfg := load(t, test.environ, path)
			equal(t, "URL", cfg.URL().Reveal(), test.url)
			if strings.Contains(test.url, "fromfile") {
				equal(t, "source", setting(t, cfg, "DATABASE_URL").Source, path)
			}
		})
	}
}

func TestDotEnvFiles(t *testing.T) {
	t.Parallel()
	first := file(t, "first", "DATABASE_POOL_MAX_CONNS=1\n")
	second := file(t, "second", "DATABASE_POOL_MAX_CONNS=2\nDATABASE_URL=postgres://u@localhost/d\n")
	cfg := load(t, env{}, "/no/such/file", first, second)
	equal(t, "MaxConns", cfg.MaxConns, 1)
	equal(t, "source", setting(t, cfg, "DATABASE_POOL_MAX_CONNS").Source, first)

	folder := t.TempDir()
	text := refused(t, pgconfig.Source{Environ: env{}, DotEnv: []string{folder}})
	if !strings.Contains(text, folder+" cannot be read") {
		t.Error(text)
	}
}

// TestLoad changes the environment and the working directory of the process: it is not parallel.
func TestLoad(t *testing.T) {
	for _, name := range []string{"APP_ENV", "DATABASE_URL", "DATABASE_URL_FILE", "PGHOST", "PGDATABASE", "PGSERVICE"} {
		t.Setenv(name, "")
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile(".env", []byte("DATABASE_URL=postgres://u@localhost/fromdotenv\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := pgconfig.Load()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "database", strings.Contains(cfg.URL().Reveal(), "/fromdotenv"), true)
	equal(t, "source", setting(t, cfg, "DATABASE_URL").Source, ".env")
	equal(t, "application name", cfg.ApplicationName, "pgconfig.test")

	t.Setenv("APP_ENV", "production")
	if cfg, err := pgconfig.Load(); err == nil {
		t.Errorf("production read .env: %v", cfg)
	}
}

// TestDollar: no value is changed silently. A reference must name an earlier line.
func TestDollar(t *testing.T) {
	t.Parallel()
	const refuse = ""
	for line, want := range map[string]string{
		`PGPASSWORD=$ECRETpw`:                    refuse,
		`PGPASSWORD=a$BCd`:                       refuse,
		`PGPASSWORD=pa$(ABC)x`:                   refuse,
		`PGPASSWORD=pa$word`:                     refuse,
		`PGPASSWORD=pa$0`:                        refuse,
		`PGPASSWORD=pa$9`:                        refuse,
		`PGPASSWORD=pa$a`:                        refuse,
		`PGPASSWORD=pa$z`:                        refuse,
		`PGPASSWORD=pa$A`:                        refuse,
		`PGPASSWORD=pa$Z`:                        refuse,
		`PGPASSWORD=pa$1`:                        refuse,
		`PGPASSWORD=pa$_`:                        refuse,
		`PGPASSWORD=pa${A`:                       refuse,
		`PGPASSWORD=pa${A-b}`:                    refuse,
		`PGPASSWORD="a$BCd"`:                     refuse,
		`PGPASSWORD=${LATER}`:                    refuse,
		`PGPASSWORD=${ABOVE}${LATER}`:            refuse,
		`PGPASSWORD=$ABOVEx`:                     refuse,
		`PGPASSWORD=$DOUBTFUL`:                   refuse,
		`PGPASSWORD=$ABOVE`:                      "above",
		`PGPASSWORD=${ABOVE}${ABOVE}x`:           "aboveabovex",
		`PGPASSWORD="$ABOVE-${ABOVE}"`:           "above-above",
		`PGPASSWORD=$above`:                      "lower",
		`PGPASSWORD='$ABOVE$(x)'`:                "$ABOVE$(x)",
		`PGPASSWORD=a\$BC`:                       "a$BC",
		`PGPASSWORD="a\$BC"`:                     "a$BC",
		`PGPASSWORD=a$`:                          "a$",
		`PGPASSWORD=a$@b`:                        refuse,
		`PGPASSWORD=a$$`:                         refuse,
		`PGPASSWORD="a$"`:                        "a$",
		`PGPASSWORD=a\`:                          `a\`,
		`PGPASSWORD=a\b`:                         `a\b`,
		`PGPASSWORD=a"b"c`:                       `a"b"c`,
		`PGPASSWORD="a\\b\"c"`:                   `a\b"c`,
		`PGPASSWORD="a\nb\rc"`:                   "a\nb\rc",
		`PGPASSWORD='a\b'`:                       `a\b`,
		`PGPASSWORD=a b # comment`:               "a b",
		`PGPASSWORD=a#b`:                         "a#b",
		"PGPASSWORD=a\t#b":                       "a",
		`PGPASSWORD="a # b" # comment`:           "a # b",
		`PGPASSWORD = a`:                         "a",
		`PGPASSWORD: a`:                          "a",
		`  export   PGPASSWORD=a`:                "a",
		"PGPASSWORD='a\nb'":                      "a\nb",
		"PGPASSWORD=a\r":                         "a",
		`OTHER=a$BCd`:                            "none",
		`OTHER_DATABASE_URL=a$BCd`:               "none",
		"PGPASSWORD= #x":                         "none",
		"PGPASSWORD=a  #x":                       "a",
		"PGPASSWORD=#x":                          "# ",
		`PGPASSWORD="pa\ss"`:                     `\ `,
		"PGPASSWORD=`a`":                         "` ",
		"PGPASSWORD='`a`'":                       "`a`",
		"PGPASSWORD=a\nexport PGPASSWORD PGUSER": "a",
		"PGPASSWORD=a\nmy-key=b":                 "a",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			text := "PGPASSFILE=/nothing\nABOVE=above\nabove=lower\nDOUBTFUL=a$x\n" + line + "\nLATER=later\nPGUSER=u\n"
			path := file(t, "dotenv", text)
			environ := env{"APP_ENV": "test", "DATABASE_URL": "postgres://localhost/d"}
			if want == refuse {
				text := refused(t, pgconfig.Source{Environ: environ, DotEnv: []string{path}})
				equal(t, "error", text, path+" has a $ in PGPASSWORD that may be taken for a variable: put it in "+
					"single quotes")
				return
			}
			for start, said := range map[string]string{
				"` ": "` in PGPASSWORD that may be taken for a quotation mark",
				"# ": "# in PGPASSWORD that may be taken for a comment",
				`\ `: "backslash in PGPASSWORD that may be taken for the character after it alone",
			} {
				if want == start {
					text := refused(t, pgconfig.Source{Environ: environ, DotEnv: []string{path}})
					equal(t, "error", text, path+" has a "+said+": put it in single quotes")
					return
				}
			}
			cfg := load(t, environ, path)
			pool, err := cfg.PoolConfig()
			if err != nil {
				t.Fatal(err)
			}
			if want == "none" {
				want = ""
			}
			equal(t, "password", pool.ConnConfig.Password, want)
			equal(t, "user", pool.ConnConfig.User, "u") // the line after it
		})
	}
}

// TestTwice: the last of two lines counts. Only different values are worth a note.
func TestTwice(t *testing.T) {
	t.Parallel()
	path := file(t, "dotenv", "PGUSER=a\nOTHER=1\nPGUSER='b'\nOTHER=2\nPGHOST=localhost\nPGHOST=\"localhost\"\n")
	cfg := load(t, env{"APP_ENV": "test", "DATABASE_URL": "postgres:///d"}, path)
	equal(t, "note", setting(t, cfg, "PGUSER").Note, "is in "+path+" more than once: the last one counts")
	equal(t, "user", setting(t, cfg, "DATABASE_URL user").Value, "b")
	for _, s := range cfg.Report() {
		if strings.Contains(s.Note, "more than once") && s.Key != "PGUSER" {
			t.Error(s)
		}
	}
}

// TestEnvironmentWins: the environment takes precedence, in references too.
func TestEnvironmentWins(t *testing.T) {
	t.Parallel()
	path := file(t, "dotenv", "HOST=file\nWORD=a$x\nPGPASSWORD=b$y\nDATABASE_URL=postgres://${HOST}/d\nPGUSER=$WORD\n")
	cfg := load(t, env{"APP_ENV": "test", "HOST": "environment", "WORD": "app", "PGPASSWORD": "p"}, path)
	equal(t, "URL", cfg.URL().Reveal(), "postgres://app:p@environment:5432/d?sslmode=prefer")
}

// TestDoubling: references do not make a value grow without bound.
func TestDoubling(t *testing.T) {
	t.Parallel()
	text := "A0=abcdefgh\n"
	for i := range 40 {
		text += fmt.Sprintf("A%d=$A%d$A%d\n", i+1, i, i)
	}
	path := file(t, "dotenv", text+"PGPASSWORD=$A40\n")
	got := refused(t, pgconfig.Source{
		Environ: env{"APP_ENV": "test", "DATABASE_URL": "postgres://u@localhost/d"}, DotEnv: []string{path},
	})
	equal(t, "error", got, path+" has a $ in PGPASSWORD that may be taken for a variable: put it in single quotes")
}

// TestBrokenLine: the number of the line is right, and the error names one cause.
func TestBrokenLine(t *testing.T) {
	t.Parallel()
	for text, line := range map[string]string{
		"hidden": "1", "A=b\n\n# c\nhidden\n": "4", "A='x\ny'\nB=\"x\ny\\\"\"\nhidden": "5", "A=b\n'hidden'=x": "2",
		"A='hidden\nB=c\n": "1", "A=b\nB=\"hidden\\\"\n": "2", "A='hidden'x\n": "1", "A=b\n2X=hidden": "2",
		"A=1\r\nhidden\r\n":               "2",
		"DATABASE_URL='x' # fine\nhidden": "2", "A=\nhidden": "2", "A='x\n'\nhidden": "3",
	} {
		path := file(t, "dotenv", text)
		got := refused(t, pgconfig.Source{Environ: env{}, DotEnv: []string{path}})
		equal(t, "error", got, path+" line "+line+" is not of the form NAME=value: put a value with spaces or a # "+
			"in quotes, and close each quotation mark")
	}
	for _, src := range []pgconfig.Source{
		{Environ: env{"APP_ENV": "prod"}},
		{DotEnv: []string{t.TempDir()}},
		{DotEnv: []string{file(t, "dotenv", "DATABASE_URL=a$BC")}},
	} {
		if got := refused(t, src); strings.Contains(got, "is not set") || strings.Contains(got, "\n") {
			t.Errorf("not the cause alone: %s", got)
		}
	}
}

// TestLargeDotEnv: the time grows with the size of the file, not with its square.
func TestLargeDotEnv(t *testing.T) {
	t.Parallel()
	path := file(t, "dotenv", "A=a\n"+strings.Repeat("B=\"some value with ${A} and more\"\n", 5_000)+"hidden\n")
	began := time.Now()
	got := refused(t, pgconfig.Source{Environ: env{}, DotEnv: []string{path}})
	if took := time.Since(began); took > 10*time.Second { // about 10 ms
		t.Errorf("took %v", took)
	}
	if !strings.Contains(got, "line 5002 is not") {
		t.Error(got)
	}
}
