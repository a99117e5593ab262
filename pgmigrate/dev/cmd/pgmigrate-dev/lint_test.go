package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// The environment and the directory are the process's, so the cases run one after another.
func TestLint(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":             "module example.com/m\n",
		"migrations/1_a.sql": "create table a (id int);\n",
		"migrations/2_b.sql": "-- a comment\ncreate index a_id on a (id);\n\n---- create above / drop below ----\n" +
			"\ndrop index a_id;\n",
		"fails/1_a.sql":       "alter table b add column c int;\n",
		"fails/2_b.sql":       "select 1;\n",
		"fails/3_c.sql":       "select 1;\n",
		"template/1_a.sql":    "create table {{.name}} (id int);\n",
		"template/2_b.sql":    "drop table {{.name}};\n",
		"template/ignored.md": "",

		"shop/migrations/1_a.sql": "create table a (id int);\n",
		"shop/migrations/2_b.sql": "create table b (id int);\n",
		"shop/repeatable/v.sql":   "create view v as select id from a;\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	for _, name := range []string{
		"DATABASE_URL", "DATABASE_URL_FILE", "PGHOST", "PGSERVICE", "PGDATABASE", "SHADOW_DATABASE_URL",
	} {
		t.Setenv(name, "")
	}

	command(t, 1, []string{"lint"}, "migrations/2_b.sql:2: error: index-without-concurrently: builds a_id on a",
		"\n1 judged", " 1 errors")
	command(t, 0, []string{"lint", "1"}, "(1_a.sql): 0 errors")
	command(t, 1, []string{"lint", "migrations/2_b.sql", "--format", "json"}, `"file": "migrations/2_b.sql"`,
		`"rule": "index-without-concurrently"`)
	command(t, 1, []string{"lint", "--since", "0", "--format", "github"},
		"::error file=migrations/2_b.sql,line=2,title=index-without-concurrently::")
	command(t, 1, []string{"lint", "--all", "--down"}, "2_b.sql:6: error: drop-index", "\n2 judged")
	command(t, 1, []string{"lint", "--dir", "fails", "--all"},
		`fails/1_a.sql:1: error: fails: relation "b" does not exist (SQLSTATE 42P01)`,
		"\n2 not judged after the failure: from 2_b.sql on")
	command(t, 1, []string{"lint", "--dir", "fails", "--all", "--format", "json"}, `"fails/2_b.sql",`)
	command(t, 1, []string{"lint", "--dir", "template", "--data", "name=z"},
		"template/2_b.sql: error: drop-table: drops z")
	command(t, 1, []string{"lint", "--dir", "shop/migrations"}, `shop/repeatable/v.sql:1: error: fails: relation "v"`)
	command(t, 1, []string{"lint", "--dir", "shop/migrations", "shop/repeatable/v.sql"}, "shop/repeatable/v.sql:1: error")
	command(t, 0, []string{"lint", "--dir", "shop/migrations", "1"}, "0 errors")

	url := pgserver.Database(t)
	t.Setenv("DATABASE_URL", url)
	command(t, 1, []string{"lint"}, "\n2 judged")
	sql(t, url, "create table public.schema_version (version int4 not null); insert into schema_version values (1)")
	command(t, 1, []string{"lint"}, "\n1 judged", "2_b.sql:2")
	t.Setenv("DATABASE_URL", "")
	command(t, 1, []string{"lint", "--since", "0"}, "\n2 judged")
	dotEnv := func(text string) {
		if err := os.WriteFile(".env", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sql(t, url, "update schema_version set version = 0")
	command(t, 1, []string{"lint"}, "\n1 judged") // the newest
	dotEnv("OTHER=1\n")
	command(t, 1, []string{"lint"}, "\n1 judged")
	dotEnv("export DATABASE_URL='" + url + "'\n")
	command(t, 1, []string{"lint"}, "\n2 judged") // what is pending
	t.Setenv("APP_ENV", "production")
	command(t, 1, []string{"lint"}, "\n1 judged")
	t.Setenv("APP_ENV", "")
	dotEnv("DATABASE_URL=nonsense\n")
	command(t, 2, []string{"lint"}, "DATABASE_URL")
	t.Setenv("DATABASE_URL", url)
	t.Setenv("SHADOW_DATABASE_URL", url)
	command(t, 1, []string{"lint"}, "the shadow's address names the live database")
	sql(t, url, "do $$ begin assert to_regclass('a') is null; end $$") // the live database was only read
	sql(t, url, "update schema_version set version = 2")
	command(t, 0, []string{"lint"}, "no migrations to judge")
}

func command(t *testing.T, code int, args []string, want ...string) {
	t.Helper()
	var out bytes.Buffer
	got := run(t.Context(), args, &out, &out)
	if got != code {
		t.Errorf("%q: exit code %d, want %d: %s", args, got, code, out.String())
	}
	for _, w := range want {
		if !strings.Contains("\n"+out.String(), w) {
			t.Errorf("%q: no %q in: %s", args, w, out.String())
		}
	}
}

func sql(t *testing.T, url, statements string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal("cannot connect to the test's database")
	}
	defer conn.Close(t.Context())
	if _, err := conn.PgConn().Exec(t.Context(), statements).ReadAll(); err != nil {
		t.Fatal(err)
	}
}
