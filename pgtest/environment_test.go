package pgtest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgtest"
)

// The variables that PostgreSQL's clients read change neither the template nor a test's connection,
// and none of them keeps the tests from running.
func TestClientVariablesDoNotCount(t *testing.T) {
	t.Parallel()
	_, env := ownServer(t)
	service := filepath.Join(t.TempDir(), "services")
	if err := os.WriteFile(service, []byte("[there]\nuser=nobody\noptions=-c work_mem=7MB\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, variables := range [][]string{
		{"PGTZ=Asia/Tokyo"},
		{"PGOPTIONS=-c work_mem=7MB"},
		{"PGAPPNAME=somebody"},
		{"PGSERVICE=nothing"},
		{"PGSERVICE=there", "PGSERVICEFILE=" + service},
		{"PGTARGETSESSIONATTRS=standby"},
		{"PGTARGETSESSIONATTRS=nonsense"},
		{"PGCONNECT_TIMEOUT=nonsense"},
		{"PGMINPROTOCOLVERSION=nonsense", "PGMAXPROTOCOLVERSION=nonsense"},
		{"PGCHANNELBINDING=nonsense", "PGREQUIREAUTH=nonsense"},
		{"PGHOST=nowhere", "PGPORT=1", "PGDATABASE=none", "PGUSER=nobody"},
		{"PGSSLMODE=verify-full", "PGSSLROOTCERT=/nowhere"},
		{"PGPASSFILE=/nowhere", "PGPASSWORD=wrong"},
	} {
		t.Run(variables[0], func(t *testing.T) {
			t.Parallel()
			// A template for each: the first process's variables must not count.
			runChild(t, "TestChildSeesNoVariables", append(variables, env, "PGTEST_TEST_TEMPLATE="+variables[0])...)
		})
	}
}

func TestChildSeesNoVariables(t *testing.T) {
	onlyAsChild(t)
	const settings = "current_setting('timezone') || current_setting('work_mem') || current_setting('application_name')"
	pool := pgtest.New(t, pgtest.Migrations(fstest.MapFS{"001_a.sql": {Data: []byte(
		"create table seen as select " + settings + " as settings; -- " + os.Getenv("PGTEST_TEST_TEMPLATE"))}}))
	for what, sql := range map[string]string{
		"template": "select settings from seen", "connection": "select " + settings,
	} {
		var got string
		if err := pool.QueryRow(t.Context(), sql).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if strings.TrimSuffix(got, "pgmigrate") != "UTC4MB" { // pgmigrate names its own sessions
			t.Errorf("%s: %s", what, got)
		}
	}
	again, err := pgxpool.New(t.Context(), pool.Config().ConnString())
	if err != nil {
		if !strings.Contains(os.Getenv("PGTEST_TEST_TEMPLATE"), "nonsense") { // refused by pgx, whatever the URL
			t.Error(err)
		}
		return
	}
	again.Close()
}

// What the migrations do to the database itself reaches the databases of the tests.
func TestAttributesOfTheDatabase(t *testing.T) {
	t.Parallel()
	_, env := ownServer(t)
	for range 2 { // makes the template, finds it
		runChild(t, "TestChildHasAttributes", env)
	}
}

func TestChildHasAttributes(t *testing.T) {
	onlyAsChild(t)
	m := pgtest.Migrations(fstest.MapFS{"001_a.sql": {Data: []byte(`create schema "Odd name";
		do $$ declare db text := current_database(); begin
			execute format('alter database %I set search_path = "Odd name", public', db);
			execute format('alter database %I set application_name = %L', db, 'it''s, "quoted"');
			execute format('alter database %I connection limit 7', db);
			execute format('revoke connect on database %I from public', db);
			execute format('grant temporary on database %I to pg_monitor with grant option', db);
			execute format('comment on database %I is ''pgtest template''', db);
		end $$;`)}})
	const want = `"Odd name", public|it's, "quoted"|7|- TEMPORARY f,pg_monitor TEMPORARY t|pgtest template`
	for range 4 { // the first copy, and others
		pool := pgtest.New(t, m)
		var got string
		err := pool.QueryRow(t.Context(), `select concat_ws('|', current_setting('search_path'),
				current_setting('application_name'), datconnlimit,
				(select string_agg(concat_ws(' ', grantee::regrole, privilege_type, is_grantable), ',')
					from aclexplode(datacl) where grantee <> datdba), shobj_description(oid, 'pg_database'))
			from pg_database where datname = current_database()`).Scan(&got)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// The mark of a database that a test has is not in the test's hands: no other process takes it for
// an unused copy.
func TestUnmarkedDatabaseIsNotAdopted(t *testing.T) {
	t.Parallel()
	_, env := ownServer(t)
	runChild(t, "TestChildUnmarks", env)
	runChild(t, "TestChildTakes", env)
}

func TestChildUnmarks(t *testing.T) {
	onlyAsChild(t)
	for range 6 {
		url := pgtest.URL(t, pgtest.Migrations(twoTables))
		execURL(t, url, "insert into pages values (1)")
		execURL(t, url, "do $$ begin execute format('comment on database %I is null', current_database()); end $$")
	}
	os.Exit(0)
}
