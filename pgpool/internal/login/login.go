// Package login starts servers that ask for a password, for tests.
package login

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// Server starts a server that asks this role for a password, and returns a function that makes the
// URL with any password. The server ends with the test.
func Server(t testing.TB, role, password string) func(password string) string {
	t.Helper()
	// Not t.TempDir: as root the server runs as somebody else, who has to get in.
	dir, err := os.MkdirTemp("", "pgpool-hba-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	hba := filepath.Join(dir, "pg_hba.conf")
	rules := fmt.Sprintf("local all %s scram-sha-256\nlocal all all trust\n", role)
	if err := errors.Join(os.Chmod(dir, 0o755),
		os.WriteFile(hba, []byte(rules), 0o644)); err != nil { // holds no secret
		t.Fatal(err)
	}
	server, err := pgserver.Acquire(t.Context(), pgserver.Options{Settings: map[string]string{"hba_file": hba}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Release() })

	admin, err := pgx.Connect(t.Context(), server.DatabaseURL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	if _, err := admin.Exec(t.Context(), fmt.Sprintf(`create role %s login password '%s'`,
		role, password)); err != nil {
		t.Fatal("cannot create the role")
	}
	return func(password string) string {
		u, err := url.Parse(server.DatabaseURL("postgres"))
		if err != nil {
			t.Fatal("cannot parse the server's URL")
		}
		u.User = url.UserPassword(role, password)
		if password == "" {
			u.User = url.User(role)
		}
		return u.String()
	}
}
