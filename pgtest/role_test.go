package pgtest_test

import (
	"testing"

	"github.com/page-builder/persistence/pgtest"
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

// A process that was killed while it made the role leaves one that cannot log in.
func TestHalfMadeRole(t *testing.T) {
	t.Parallel()
	admin, env := configured(t)
	runChild(t, "TestChildTakes", env)
	role := scan(t, admin, "select rolname from pg_roles where rolname ~ '^pgtest_'")
	runChild(t, "TestChildClean", env)
	execURL(t, admin, "create role "+role)
	runChild(t, "TestChildTakes", env)
}
