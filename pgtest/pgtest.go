// Package pgtest gives each test a PostgreSQL database of its own, with the project's migrations applied.
//
//	func TestPages(t *testing.T) {
//		t.Parallel()
//		pool := pgtest.New(t)
//		...
//	}
//
// There is nothing to install besides PostgreSQL, to start, or to clean up: the server is started by the first test that
// needs one and stops when the last is done (see [github.com/page-builder/persistence/pgtest/pgserver]). The migrations
// run once, into a template database, which each test's database is a copy of; github.com/peterldowns/pgtestdb keeps the
// template.
//
// PGTEST_URL names another server to use. DATABASE_URL is never read: a test must not meet somebody's data by accident.
package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver that pgtestdb makes templates with
	"github.com/peterldowns/pgtestdb"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// TB is the part of [testing.TB] that this package needs. *testing.T, *testing.B and *testing.F satisfy it.
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

// New makes a database and returns a pool connected to it, as a role that owns the database and has no superuser rights.
// The pool is closed and the database dropped when the test ends. A failure fails the test.
//
// Each call makes another database; for a second way into the same one use pool.Config().ConnString(). New may be called
// from parallel tests, subtests, benchmarks and fuzz targets.
func New(t TB, opts ...Option) *pgxpool.Pool {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(URL(t, opts...))
	if err != nil {
		t.Fatalf("pgtest: the database's own connection string does not parse") // pgx's text would quote it
		return nil
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
		return nil
	}
	t.Cleanup(func() { closePool(t, pool) })
	return pool
}

// URL makes a database like [New] and returns its connection string, for other drivers and for programs that read
// DATABASE_URL. It contains the role's password if the server asks for one. Every connection is ended when the test
// ends.
func URL(t TB, opts ...Option) string {
	t.Helper()
	o := newOptions(opts)
	fsys, err := o.migrationsOrNearest()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
		return ""
	}
	m, err := newMigrator(fsys)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
		return ""
	}
	// Not t.Context: the server must still be held in the cleanups, where that is done.
	server, err := pgserver.Acquire(context.WithoutCancel(t.Context()), pgserver.Options{})
	if err != nil {
		t.Fatalf("pgtest: %v", err)
		return ""
	}
	t.Cleanup(server.Release)
	conf, err := testdbConfig(server)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
		return ""
	}
	return pgtestdb.Custom(quiet{t}, conf, m).URL()
}

// testdbConfig says how pgtestdb reaches the server, and which role owns the databases.
func testdbConfig(server *pgserver.Server) (pgtestdb.Config, error) {
	u, err := url.Parse(server.URL())
	if err != nil {
		return pgtestdb.Config{}, fmt.Errorf("the server's connection string does not parse") // err would quote it
	}
	query := u.Query()
	host, port := u.Hostname(), u.Port()
	if host == "" { // a socket's directory does not fit into a URL's host
		host, port = "localhost", "5432"
	} else {
		host = bracketed(host)
		if port == "" {
			port = "5432"
		}
	}
	password, _ := u.User.Password()
	// pgtestdb puts both into a URL as they are.
	user, escaped, _ := strings.Cut(url.UserPassword(u.User.Username(), password).String(), ":")
	// pgtestdb remembers for the life of the process which roles and templates it made. A server may stop within
	// that life and another take its place: the role's name tells them apart, and goes into the template's name.
	// The password is not pgtestdb's published default, since the server may be one that others can reach.
	id := sha256.Sum256([]byte("pgtest\x00" + server.URL()))
	secret := sha256.Sum256([]byte("pgtest role\x00" + password + "\x00" + server.URL()))
	return pgtestdb.Config{
		DriverName: "pgx",
		Host:       host,
		Port:       port,
		User:       user,
		Password:   escaped,
		Database:   url.PathEscape(trimSlash(u.Path)),
		Options:    query.Encode(), // host and port in here win over the ones before
		TestRole: &pgtestdb.Role{
			Username:     "pgtest_" + hex.EncodeToString(id[:4]),
			Password:     hex.EncodeToString(secret[:16]),
			Capabilities: pgtestdb.DefaultRoleCapabilities,
		},
		ForceTerminateConnections: true,
	}, nil
}

func bracketed(host string) string {
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return "[" + host + "]"
	}
	return host
}

func trimSlash(path string) string {
	if path == "" || path == "/" {
		return "postgres"
	}
	return path[1:]
}

// quiet keeps pgtestdb from logging the connection string, which holds a password, and from keeping the databases of failed
// tests: nothing would ever drop them.
type quiet struct{ TB }

func (quiet) Logf(string, ...any) {}
func (quiet) Failed() bool        { return false }
