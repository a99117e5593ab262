package pgtest_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest"
)

// A failed test's database stays on request, is found again, spared by sweeps for a day, and
// dropped by Clean; what pgtest did not make is never touched.
func TestKeepOfFailedTest(t *testing.T) {
	t.Parallel()
	admin, env := configured(t)
	foreign := []string{"pgtest_mine", "pgtest_00000000_0000000000000000_0000000000", "testdb_tpl_00_inst_00"}
	for _, name := range foreign {
		execURL(t, admin, "create database "+name)
	}
	const roles = "select coalesce(string_agg(rolname, ' '), '') from pg_roles where rolname ~ '^pgtest_'"
	execURL(t, admin, "create role pgtest_00000000")
	failing := func(extra ...string) string {
		t.Helper()
		out, err := child(t, "TestChildFails", append(extra, env)...).CombinedOutput()
		if err == nil {
			t.Fatalf("did not fail:\n%s", out)
		}
		if strings.Contains(string(out), "s3cretword") {
			t.Errorf("the password is in the output:\n%s", out)
		}
		return string(out)
	}
	failing()
	if left := scan(t, admin, allOurs); left != strings.Join(foreign, " ") &&
		len(strings.Fields(left)) != len(foreign) {
		t.Errorf("without the wish: %s", left)
	}
	out := failing("PGTEST_KEEP=1")
	command := regexp.MustCompile(`psql '([^']+)'`).FindStringSubmatch(out)
	if command == nil {
		t.Fatalf("no psql command:\n%s", out)
	}
	opened := strings.Replace(command[1], "adm@", "adm:s3cretword@", 1)
	if got := scan(t, opened, "select id::text from pages"); got != "42" {
		t.Errorf("row %s", got)
	}
	runChild(t, "TestChildTakes", env) // sweeps
	if got := scan(t, opened, "select id::text from pages"); got != "42" {
		t.Errorf("row %s after a sweep", got)
	}
	if out := runChild(t, "TestChildKept", env); !strings.Contains(out, "TestChildFails "+command[0]) {
		t.Errorf("listed: %s", out)
	}
	name := scan(t, opened, "select current_database()")
	execURL(t, admin, "comment on database "+name+" is 'pgtest kept 2020-01-01T00:00:00Z TestOld'")
	runChild(t, "TestChildTakes", env)
	if left := scan(t, admin, allOurs); strings.Contains(left, name) {
		t.Errorf("kept for years: %s", left)
	}
	failing("PGTEST_KEEP=1")
	runChild(t, "TestChildClean", env)
	if left := scan(t, admin, `select string_agg(datname, ' ' order by datname) from pg_database
		where datname ~ '^(pgtest_|testdb_)'`); left !=
		"pgtest_00000000_0000000000000000_0000000000 pgtest_mine testdb_tpl_00_inst_00" {
		t.Errorf("after Clean: %s", left)
	}
	if left := scan(t, admin, roles); left != "pgtest_00000000" {
		t.Errorf("roles after Clean: %s", left)
	}
	runChild(t, "TestChildTakes", env) // from nothing
}

func TestChildFails(t *testing.T) {
	onlyAsChild(t)
	exec(t, pgtest.New(t, pgtest.Migrations(twoTables)), "insert into pages values (42)")
	t.Error("on purpose")
}

func TestChildKept(t *testing.T) {
	onlyAsChild(t)
	kept, err := pgtest.Kept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kept {
		fmt.Println(k.Test, k.Psql)
	}
}

func TestChildClean(t *testing.T) {
	onlyAsChild(t)
	if _, err := pgtest.Clean(t.Context(), pgtest.CleanOptions{}); err != nil {
		t.Fatal(err)
	}
}

// On a throw-away server the server stays with the database, until it is cleaned.
func TestKeepOnThrowAwayServer(t *testing.T) {
	t.Parallel()
	server, env := ownServer(t)
	out, err := child(t, "TestChildFails", env, "PGTEST_KEEP=1").CombinedOutput()
	command := regexp.MustCompile(`psql '([^']+)'`).FindStringSubmatch(string(out))
	if err == nil || command == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	server.Release()
	time.Sleep(4 * time.Second) // longer than a server without users stays
	if got := scan(t, command[1], "select id::text from pages"); got != "42" {
		t.Errorf("row %s", got)
	}
	runChild(t, "TestChildClean", env)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) { // polls
		conn, err := pgx.Connect(context.Background(), command[1])
		if err != nil {
			return
		}
		conn.Close(context.Background())
		if time.Now().After(deadline) {
			t.Fatal("the server is still there")
		}
	}
}
