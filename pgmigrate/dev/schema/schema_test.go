package schema_test

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/page-builder/persistence/pgmigrate/dev/schema"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func database(t *testing.T, sql string) schema.Database {
	t.Helper()
	cfg, err := pgx.ParseConfig(pgserver.Database(t))
	if err != nil {
		t.Fatal("parse the test database's address")
	}
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatal(err)
	}
	return schema.Database{Config: cfg}
}

// What is tern's and pgmigrate's is on one side only, and no difference; nor is a column's place.
func TestNoDifference(t *testing.T) {
	t.Parallel()
	from := database(t, `create table public.schema_version (version int4 not null); create schema pgmigrate;
		create table pgmigrate.history (id int);
		grant select on public.schema_version to public;
		create table t (a int, b text, c int default 1)`)
	to := database(t, "create table t (c int default 1, a int, b text)")
	for _, pair := range [][2]schema.Database{{from, to}, {to, from}} {
		d, err := schema.Compare(t.Context(), pair[0], pair[1], schema.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !d.Empty() {
			t.Errorf("%v", d.Objects)
		}
	}
}

// A user mapping's password, and the connection's own, reach neither a file nor an error.
func TestNoSecret(t *testing.T) {
	t.Parallel()
	db := database(t, `create extension postgres_fdw;
		create server far foreign data wrapper postgres_fdw options (host 'far.example');
		create user mapping for current_user server far options (user 'me', password 'hunter2');
			create table t (a int)`)
	var text strings.Builder
	if err := schema.Pull(t.Context(), &text, db.Config, schema.Options{}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text.String(), "hunter2") || !strings.Contains(text.String(), "CREATE TABLE public.t") {
		t.Errorf("pulled:\n%s", text.String())
	}
	cfg := db.Config.Copy()
	cfg.Password, cfg.Database = "hunter2", "no_such_database"
	if err := schema.Pull(t.Context(), &text, cfg, schema.Options{}); err == nil ||
		strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}

// The child process gets the password in its environment. Its arguments do not show it.
func TestPasswordIsNoArgument(t *testing.T) {
	db := database(t, "create table t (a int)")
	real := pgserver.Programs("pg_dump")
	if len(real) == 0 {
		t.Skip("no pg_dump")
	}
	dir := t.TempDir()
	script := "#!/bin/sh\necho \"$*\" >>" + dir + "/arguments\n[ \"$PGPASSWORD\" = hunter2 ] && echo yes >>" + dir +
		"/password\nexec " + real[0] + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "pg_dump"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("PGTEST_BINDIR", "")
	u, err := url.Parse(db.Config.ConnString())
	if err != nil {
		t.Fatal("parse the address")
	}
	u.User = url.UserPassword(u.User.Username(), "hunter2") // trusted by the server, whatever it is
	cfg, err := pgx.ParseConfig(u.String())
	if err != nil {
		t.Fatal("parse the address")
	}
	var text strings.Builder
	if err := schema.Pull(t.Context(), &text, cfg, schema.Options{}); err != nil {
		t.Fatal(err)
	}
	arguments, err := os.ReadFile(filepath.Join(dir, "arguments"))
	if err != nil || strings.Contains(string(arguments), "hunter2") {
		t.Errorf("arguments %s %v", arguments, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "password")); errors.Is(err, os.ErrNotExist) {
		t.Error("the password did not arrive")
	}
}

// The migrating role has another name on each side. Objects and rights of a third role are a
// difference, unless ignored.
func TestRoles(t *testing.T) {
	t.Parallel()
	live := database(t, `do $$ begin
			create role schema_test_owner; create role schema_test_old; create role schema_test_other;
		exception when duplicate_object then null; end $$;
		create table public.schema_version (version int4 not null);
			alter table schema_version owner to schema_test_owner;
		create table a (i int); alter table a owner to schema_test_owner;
		create table b (i int); alter table b owner to schema_test_old;
		alter default privileges for role schema_test_owner grant select on tables to public`)
	live.Migrators = []string{"schema_test_old"}
	made, err := shadow.Open(t.Context(), shadow.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	if err := made.Exec(t.Context(),
		"create table a (i int); create table b (i int); alter default privileges grant select on tables "+
			"to public"); err != nil {
		t.Fatal(err)
	}
	to := schema.Database{Config: made.Config()}
	compare := func(opts schema.Options) *schema.Difference {
		d, err := schema.Compare(t.Context(), live, to, opts)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := compare(schema.Options{}); !d.Empty() {
		t.Fatalf("%v", d.Objects)
	}
	conn, err := pgx.ConnectConfig(t.Context(), live.Config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "alter table b owner to schema_test_other"); err != nil {
		t.Fatal(err)
	}
	d := compare(schema.Options{})
	if plan := d.Plan(); len(plan.Statements) != 1 ||
		plan.Statements[0].SQL != "ALTER TABLE public.b OWNER TO CURRENT_ROLE" {
		t.Errorf("%+v", plan)
	}
	// Then the owner does not count. The migrator's missing statement must not count either.
	if d := compare(schema.Options{IgnoreRoles: []string{"schema_test_other"}}); !d.Empty() {
		t.Errorf("ignored: %v", d.Objects)
	}
}
