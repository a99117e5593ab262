package pgtest_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// The role may do what an application does, and no more.
func TestRoleIsNoSuperuser(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, pgtest.Migrations(twoTables))
	var super, createDB, createRole bool
	err := pool.QueryRow(t.Context(),
		"select rolsuper, rolcreatedb, rolcreaterole from pg_roles where rolname = current_user").
		Scan(&super, &createDB, &createRole)
	if err != nil {
		t.Fatal(err)
	}
	if super || createDB || createRole {
		t.Errorf("superuser %v, createdb %v, createrole %v", super, createDB, createRole)
	}
	exec(t, pool, "create table more (id int)") // the database is its own
}

// A role that exists with other rights, such as one that was left by a killed process, is mended.
func TestExistingOwnerIsMended(t *testing.T) {
	t.Parallel()
	admin, env := configured(t)
	runChild(t, "TestChildTakes", env)
	owner := scan(t, admin, "select rolname from pg_roles where rolname ~ '^pgtest_[0-9a-f]{8}$'")
	runChild(t, "TestChildClean", env)
	execURL(t, admin, "create role "+owner+" superuser login")
	runChild(t, "TestChildTakes", env)
	if got := scan(t, admin, "select concat(rolsuper, rolcanlogin) from pg_roles where rolname = '"+owner+"'"); got != "ff" {
		t.Errorf("superuser and login: %s", got)
	}
}

// A test changes its own role in every way that it can. Neither the next test of the process nor
// another process sees it.
func TestChangesOfTheRoleEndWithTheTest(t *testing.T) {
	t.Parallel()
	_, env := passwordServer(t)
	runChild(t, "TestChildChangesItsRole", env)
	runChild(t, "TestChildTakes", env)
}

func TestChildChangesItsRole(t *testing.T) {
	onlyAsChild(t)
	for _, change := range []string{
		"alter role current_user set statement_timeout = '1ms'",
		"alter role current_user password 'another'",
		"alter role current_user noinherit nologin replication connection limit 0 valid until '2001-01-01'",
		"alter role current_user nosuperuser",
	} {
		for range 2 { // changes, and is not told of it
			t.Run("", func(t *testing.T) {
				pool := pgtest.New(t, pgtest.Migrations(twoTables), pgtest.Superuser())
				var timeout string
				if err := pool.QueryRow(t.Context(), "show statement_timeout").Scan(&timeout); err != nil {
					t.Fatal(err)
				}
				if timeout != "0" {
					t.Errorf("statement_timeout is %s", timeout)
				}
				exec(t, pool, change)
			})
		}
	}
}

// A role that migrations make stays on the server: the error says so for the next template, and
// what to write instead.
func TestRolesOfMigrations(t *testing.T) {
	t.Parallel()
	_, env := ownServer(t)
	runChild(t, "TestChildMakesRoles", env)
}

func TestChildMakesRoles(t *testing.T) {
	onlyAsChild(t)
	migrate := func(sql string) []string {
		t.Helper()
		r := &recorder{TB: t}
		return r.run(func() {
			pgtest.New(r, pgtest.Superuser(), pgtest.Migrations(fstest.MapFS{"001_a.sql": {Data: []byte(sql)}}))
		})
	}
	const create = "create role reader"
	if failures := migrate(create); len(failures) > 0 {
		t.Errorf("the first: %q", failures)
	}
	edited := migrate(create + "; create table edited ()")
	if len(edited) != 1 || !strings.Contains(edited[0], "a role belongs to the server") {
		t.Errorf("edited: %q", edited)
	}
	_, advice, _ := strings.Cut(strings.Join(edited, ""), "make it by ")
	advice, _, _ = strings.Cut(advice, "$$ (")
	advice = strings.Replace(advice, "create role …", create, 1)
	if failures := migrate(advice); len(failures) > 0 {
		t.Errorf("as advised, %q: %q", advice, failures)
	}
}

// A superuser's password is random, also where PGTEST_URL has none.
func TestSuperuserHasARandomPassword(t *testing.T) {
	t.Parallel()
	_, env := configured(t)
	passwords := map[string]bool{}
	for range 2 {
		out := runChild(t, "TestChildTellsItsPassword", env)
		_, password, _ := strings.Cut(out, "password=")
		password, _, _ = strings.Cut(password, "\n")
		if len(password) < 20 || passwords[password] {
			t.Errorf("password %q", password)
		}
		passwords[password] = true
	}
}

func TestChildTellsItsPassword(t *testing.T) {
	onlyAsChild(t)
	pool := pgtest.New(t, pgtest.Migrations(twoTables), pgtest.Superuser())
	fmt.Println("password=" + pool.Config().ConnConfig.Password)
}

// passwordServer asks everybody for a password.
func passwordServer(t *testing.T) (admin *fault.Server, env string) {
	t.Helper()
	server := fault.NewServer(t, fault.ServerOptions{TCP: true})
	cfg, err := pgx.ParseConfig(server.URL())
	if err != nil {
		t.Fatal("the server's URL does not parse")
	}
	server.Exec(t, "create role adm superuser login password 's3cretword'")
	return server, fmt.Sprintf("PGTEST_URL=postgres://adm:s3cretword@127.0.0.1:%d/postgres?sslmode=disable", cfg.Port)
}
