package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// examine runs the command with this environment and returns its output.
func examine(t *testing.T, environ map[string]string, args ...string) (code int, output string) {
	t.Helper()
	var stdout, stderr strings.Builder
	if environ["APP_ENV"] == "" {
		environ["APP_ENV"] = "test"
	}
	code = run(t.Context(), args, environ, &stdout, &stderr)
	return code, stdout.String() + stderr.String()
}

func contains(t *testing.T, output string, want ...string) {
	t.Helper()
	flat := strings.Join(strings.Fields(output), " ")
	for _, text := range want {
		if !strings.Contains(flat, text) {
			t.Errorf("%q is not in the output:\n%s", text, output)
		}
	}
}

func TestHealthyDatabase(t *testing.T) {
	t.Parallel()
	code, output := examine(t, map[string]string{"DATABASE_URL": pgserver.Database(t)}, "-instances", "3")
	if code != fine {
		t.Errorf("code %d, want %d", code, fine)
	}
	contains(t, output, "DATABASE_URL postgres://", "environment", "DATABASE_STATEMENT_TIMEOUT 1m0s default",
		"ok connection socket in", "ok version PostgreSQL 1", "ok TLS off, on this machine", "ok role primary",
		"warn user postgres is a superuser",
		"ok settings 3 settings in effect: idle_in_transaction_session_timeout, lock_timeout, statement_timeout",
		"ok connections 4 × 3 instances = 12 of ", "max_connections without the reserved ones", "ok clock",
		"no problems, 1 warning")
}

func TestConfigurationThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		environ map[string]string
		args    []string
		want    string
	}{
		"nothing is set": {map[string]string{}, nil, "DATABASE_URL is not set"},
		"nothing with a prefix": {
			map[string]string{}, []string{"-prefix", "ANALYTICS"}, "ANALYTICS_DATABASE_URL is not set",
		},
		"a / in the password": {
			map[string]string{"DATABASE_URL": "postgres://app:open/sesame@db/shop"}, nil, "postgres://app:****@db/shop",
		},
		"no direct address": {map[string]string{"DATABASE_URL": "mysql://app@db/shop"}, nil, "DATABASE_URL"},
		"unverified in earnest": {
			map[string]string{
				"DATABASE_URL": "postgres://app:sesame@db.example.com/shop?sslmode=require", "APP_ENV": "production",
			}, nil, "does not verify the server",
		},
		"two mistakes, not one": {
			map[string]string{
				"DATABASE_URL": "postgres://app:sesame@db/shop", "DATABASE_ACQUIRE_TIMEOUT": "5",
				"DATABASE_LOCK_TIMEOUT": "x",
			}, nil, "2 problems",
		},
		"a secret where it isn't": {
			map[string]string{"DATABASE_URL": "postgres://app:sesame@db/shop", "DATABASE_SLOW_QUERY": "sesame"},
			nil, "DATABASE_SLOW_QUERY",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, output := examine(t, tt.environ, tt.args...)
			if code != unusable {
				t.Errorf("code %d, want %d", code, unusable)
			}
			contains(t, output, tt.want)
			if strings.Contains(output, "sesame") {
				t.Errorf("the secret is in the output:\n%s", output)
			}
		})
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	for want, all := range map[int][][]string{
		unusable: {{"-nonsense"}, {"extra"}, {"-instances", "0"}, {"-timeout", "0s"}, {"-instances", "many"}},
		fine:     {{"-help"}, {"-explain"}},
	} {
		for _, args := range all {
			if code, output := examine(t, map[string]string{}, args...); code != want || output == "" {
				t.Errorf("%v: code %d, want %d, and an explanation", args, code, want)
			}
		}
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	_, output := examine(t, map[string]string{}, "-explain", "-prefix", "ANALYTICS")
	contains(t, output, "ANALYTICS_DATABASE_URL (no default)",
		"ANALYTICS_DATABASE_POOL_MAX_CONNS (default 10, in development and test 4)",
		"ANALYTICS_DATABASE_ACQUIRE_TIMEOUT (default 5s) How long a caller waits", "Limits", "APP_ENV")
	for line := range strings.Lines(output) {
		if len(line) > lineWidth+1 {
			t.Errorf("%q is longer than %d", line, lineWidth)
		}
	}
}

func TestDatabaseThatCannotBeReached(t *testing.T) {
	t.Parallel()
	code, output := examine(t,
		map[string]string{"DATABASE_URL": "postgres://app:sesame@127.0.0.1:1/shop?sslmode=disable"})
	if code != notReached {
		t.Errorf("code %d, want %d", code, notReached)
	}
	contains(t, output, "FAIL connection connect: failed to connect to", "refused",
		"check that PostgreSQL runs at that host and port", "1 problem, no warnings")
	if strings.Contains(output, "sesame") {
		t.Errorf("the secret is in the output:\n%s", output)
	}
}

func TestWhatIsWrongWithADatabase(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		sql     string // on the database, %s
		environ map[string]string
		args    []string
		code    int
		want    []string
	}{
		"budget": {
			environ: map[string]string{"DATABASE_POOL_MAX_CONNS": "1000"}, args: []string{"-instances", "9"},
			code: wrong, want: []string{
				"WRONG connections 1000 × 9 instances = 9000 of", "lower DATABASE_POOL_MAX_CONNS", "1 problem,",
			},
		},
		"limit of the database": {
			sql: "alter database %s connection limit 4", code: fine,
			want: []string{
				"warn connections 4 × 1 instance = 4 of 4 (the database's CONNECTION LIMIT): little is left",
			},
		},
		"read-only": {
			sql: "alter database %s set default_transaction_read_only = on", code: fine,
			want: []string{"warn role primary, read-only"},
		},
		"replica that is none": {
			environ: map[string]string{"DATABASE_REPLICA_URLS": "URL"}, code: fine,
			want: []string{"Replica 1", "warn role primary, where a replica is expected"},
		},
		"direct address": {
			environ: map[string]string{"DIRECT_DATABASE_URL": "URL"}, code: fine,
			want: []string{"Direct connection ok connection"},
		},
		"PgBouncer that is not there": {
			environ: map[string]string{"DATABASE_PGBOUNCER": "true", "DIRECT_DATABASE_URL": "URL"}, code: fine,
			want: []string{"warn PgBouncer is configured but not there"},
		},
		"clock": {
			sql: "create function clock_timestamp() returns timestamptz language sql as $$ select " +
				"pg_catalog.clock_timestamp() + interval '1 h 30 s' $$; " +
				"alter database %s set search_path = public, pg_catalog",
			code: fine, want: []string{"warn clock the server's is 1h0m", "ahead of this machine's: check NTP on both"},
		},
		"setting that is there twice": {
			environ: map[string]string{"DATABASE_URL": "URL&connection_limit=7", "DATABASE_POOL_MAX_CONNS": "3"},
			code:    fine,
			want:    []string{"note: wins over connection_limit in DATABASE_URL"},
		},
		"no answer in time": {args: []string{"-timeout", "1ns"}, code: notReached, want: []string{"FAIL connection"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := pgserver.Database(t)
			if tt.sql != "" {
				execute(t, database, fmt.Sprintf(tt.sql, pgx.Identifier{nameOf(t, database)}.Sanitize()))
			}
			environ := map[string]string{"DATABASE_URL": database}
			for key, value := range tt.environ {
				environ[key] = strings.Replace(value, "URL", database, 1)
			}
			code, output := examine(t, environ, tt.args...)
			if code != tt.code {
				t.Errorf("code %d, want %d:\n%s", code, tt.code, output)
			}
			contains(t, output, tt.want...)
		})
	}
}

func TestPgBouncer(t *testing.T) {
	t.Parallel()
	const ignored = "statement_timeout,lock_timeout,idle_in_transaction_session_timeout"
	for name, tt := range map[string]struct {
		ignored string // by PgBouncer
		environ map[string]string
		want    []string
	}{
		"refuses settings": {
			"", nil, []string{"WRONG PgBouncer does not take the setting", "set DATABASE_PGBOUNCER=true"},
		},
		"swallows settings": {
			ignored, nil, []string{
				"WRONG PgBouncer is in front of the database", `WRONG setting lock_timeout is "0" and not "5s"`,
				"ALTER ROLE",
			},
		},
		"swallows a role": {
			ignored + ",role",
			map[string]string{"DATABASE_URL": "URL&role=nobody"},
			[]string{`WRONG setting role is "none" and not "nobody"`, "PgBouncer takes it out"},
		},
		"is configured": {
			"",
			map[string]string{"DATABASE_PGBOUNCER": "true"},
			[]string{
				"ok PgBouncer is in front of the database, as configured",
				`WRONG setting statement_timeout is "0" and not "1min"`, "of PgBouncer's max_client_conn",
			},
		},
		"is no direct way": {
			"",
			map[string]string{"DATABASE_PGBOUNCER": "true", "DIRECT_DATABASE_URL": "URL"},
			[]string{"DIRECT_DATABASE_URL must lead to the server itself"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bouncer := fault.NewPgBouncer(t, pgserver.Database(t),
				map[string]string{"ignore_startup_parameters": tt.ignored}).URL()
			environ := map[string]string{"DATABASE_URL": bouncer}
			for key, value := range tt.environ {
				environ[key] = strings.Replace(value, "URL", bouncer, 1)
			}
			code, output := examine(t, environ)
			if code != wrong {
				t.Errorf("code %d, want %d:\n%s", code, wrong, output)
			}
			contains(t, output, tt.want...)
		})
	}
}

func TestDotEnv(t *testing.T) { // not parallel: it is about the working directory
	t.Chdir(t.TempDir())
	if err := os.WriteFile(filepath.Join(".", ".env"), []byte("DATABASE_URL="+pgserver.Database(t)+"\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	code, output := examine(t, map[string]string{})
	if code != fine {
		t.Errorf("code %d, want %d:\n%s", code, fine, output)
	}
	contains(t, output, ".env")
}

func execute(t *testing.T, database, sql string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context()) // at the end of the test, too
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatal(err)
	}
}

func nameOf(t *testing.T, database string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal("cannot parse the database's URL")
	}
	return strings.TrimPrefix(u.Path, "/")
}
