// Package pgtest gives each test a PostgreSQL database of its own, with the project's migrations
// applied.
//
//	func TestPages(t *testing.T) {
//		t.Parallel()
//		pool := pgtest.New(t)
//		...
//	}
//
// The first test that needs a server starts one, and the server stops when the last test is done
// (see [github.com/page-builder/persistence/pgtest/pgserver]). The migrations run once, into a
// template database made by github.com/peterldowns/pgtestdb. Each test's database is a copy of it.
//
// PGTEST_URL names another server to use. DATABASE_URL is never read: a test must not touch real
// data by accident.
package pgtest

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver that migrators get

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// TB is the part of [testing.TB] that this package needs. *testing.T, *testing.B and *testing.F
// satisfy it.
type TB interface {
	Helper()
	Name() string
	Context() context.Context
	Cleanup(func())
	Failed() bool
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// New makes a database and returns a pool connected to it, as a role that owns the database and has
// no superuser rights. The pool is closed and the database dropped when the test ends. A failure
// fails the test.
//
// Each call makes another database; for a second way into the same one use
// pool.Config().ConnString(). New may be called from parallel tests, subtests, benchmarks and fuzz
// targets.
func New(t TB, opts ...Option) *pgxpool.Pool {
	t.Helper()
	o := newOptions(opts)
	db := open(t, o)
	if db == nil {
		return nil
	}
	cfg, err := parsePool(db.url)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
		return nil
	}
	for _, change := range o.config {
		change(cfg)
	}
	return openPool(t, cfg)
}

// URL makes a database like [New] and returns its connection string, for other drivers and for
// programs that read DATABASE_URL. It contains the role's password if the server asks for one.
// Every connection is ended when the test ends.
func URL(t TB, opts ...Option) string {
	t.Helper()
	db := open(t, newOptions(opts))
	if db == nil {
		return ""
	}
	return db.url
}

// parsePool is [pgserver.ParseConfig] for a pool.
func parsePool(url string) (*pgxpool.Config, error) {
	shielded, err := pgserver.ShieldURL(url)
	if err != nil {
		return nil, err
	}
	cfg, err := pgxpool.ParseConfig(shielded)
	if err != nil {
		return nil, errors.New("the database's own connection string does not parse") // pgx's text would quote it
	}
	pgserver.Shield(cfg.ConnConfig)
	return cfg, nil
}
