// Package testkit is shared by the tests of pgpool, pgpool/listen and pgpool/replica.
package testkit

import (
	"fmt"
	"net/url"

	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// PasswordServer starts a server that asks this role for a password, and returns a function that
// makes the URL with any password. The server ends with the test.
func PasswordServer(t fault.TB, role, password string) func(password string) string {
	t.Helper()
	server := fault.NewServer(t, fault.ServerOptions{TCP: true})
	server.Exec(t, fmt.Sprintf(`create role %s login password '%s'`, role, password))
	return func(password string) string {
		u, err := url.Parse(server.URL())
		if err != nil {
			t.Fatalf("cannot parse the server's URL")
		}
		u.User = url.UserPassword(role, password)
		if password == "" {
			u.User = url.User(role)
		}
		return u.String()
	}
}
