package pgtest_test

import (
	"crypto/rand"
	"fmt"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// The server named by PGTEST_URL is used, with a password that URLs must quote.
func TestConfiguredServer(t *testing.T) {
	server := fault.NewServer(t, fault.ServerOptions{TCP: true})
	server.Exec(t, `create role "ad min" superuser login password 'p@ss/w:rd %'`)
	cfg, err := pgx.ParseConfig(server.URL())
	if err != nil {
		t.Fatal("the server's URL does not parse")
	}
	t.Setenv("PGTEST_URL", fmt.Sprintf(
		"postgres://ad%%20min:p%%40ss%%2Fw%%3Ard%%20%%25@127.0.0.1:%d/postgres?sslmode=disable", cfg.Port))

	pool := pgtest.New(t, pgtest.Migrations(twoTables))
	exec(t, pool, "insert into pages values (1)")
	if got := pool.Config().ConnConfig.Port; got != cfg.Port {
		t.Errorf("port %d, want %d", got, cfg.Port)
	}
}

// configured makes a server of its own look like one that PGTEST_URL names, with a password.
func configured(t *testing.T) (admin, env string) {
	t.Helper()
	only := map[string]string{"cluster_name": rand.Text()}
	server, err := pgserver.Acquire(t.Context(), pgserver.Options{Settings: only})
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
