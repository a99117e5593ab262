package main

import (
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// The role has a connection limit and lacks a privilege that other roles have.
func TestUser(t *testing.T) {
	t.Parallel()
	database := pgserver.Database(t)
	user := nameOf(t, database) + "_app" // roles are the server's
	name := pgx.Identifier{user}.Sanitize()
	execute(t, database, "create role "+name+" login connection limit 3")
	t.Cleanup(func() { execute(t, database, "drop role "+name) })
	as, err := url.Parse(database)
	if err != nil {
		t.Fatal("cannot parse the database's URL")
	}
	as.User = url.User(user)

	environ := map[string]string{"DATABASE_URL": as.String(), "DATABASE_POOL_MAX_CONNS": "4"}
	code, output := examine(t, environ)
	if code != wrong {
		t.Errorf("code %d, want %d", code, wrong)
	}
	contains(t, output, "ok user "+user,
		"WRONG connections 4 × 1 instance = 4 of 3 (the user's CONNECTION LIMIT): lower DATABASE_POOL_MAX_CONNS")

	execute(t, database, "revoke select on pg_catalog.pg_roles from public") // in this database
	code, output = examine(t, environ)
	if code != notReached {
		t.Errorf("code %d, want %d", code, notReached)
	}
	contains(t, output, "ok connection", "FAIL answer connect: ERROR: permission denied for view pg_roles",
		"1 problem, no warnings")
}
