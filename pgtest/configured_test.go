package pgtest_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// The server named by PGTEST_URL is used, with a password that URLs must quote.
func TestConfiguredServer(t *testing.T) {
	dev := pgserver.Dev{Dir: shortDir(t), Port: freePort(t)}
	url, err := dev.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the databases' own cleanups
		if err := dev.Remove(context.Background()); err != nil {
			t.Error(err)
		}
	})
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `create role "ad min" superuser login password 'p@ss/w:rd %'`); err != nil {
		t.Fatal(err)
	}
	conn.Close(t.Context())
	configured := conn.Config().Copy()
	t.Setenv("PGTEST_URL", fmt.Sprintf("postgres://ad%%20min:p%%40ss%%2Fw%%3Ard%%20%%25@127.0.0.1:%d/postgres?sslmode=disable", configured.Port))

	pool := pgtest.New(t, pgtest.Migrations(twoTables))
	exec(t, pool, "insert into pages values (1)")
	if got := pool.Config().ConnConfig.Port; got != configured.Port {
		t.Errorf("port %d, want %d", got, configured.Port)
	}

	// A switch reaches it by TCP as well.
	s := pgtest.Cut(t, pgtest.URL(t, pgtest.Migrations(twoTables)))
	if err := cutConnect(t, s).Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// configured makes a server of its own look like one that PGTEST_URL names, with a password.
func configured(t *testing.T) (admin, env string) {
	t.Helper()
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o777); err != nil { // root's server runs as another user
		t.Fatal(err)
	}
	server, err := pgserver.Acquire(t.Context(), pgserver.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Release)
	execURL(t, server.URL(), "create role adm superuser login password 's3cretword'")
	u, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("adm", "s3cretword")
	return server.URL(), "PGTEST_URL=" + u.String()
}
