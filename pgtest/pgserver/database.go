package pgserver

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// TB is the part of [testing.TB] that Database needs.
type TB interface {
	Helper()
	Name() string
	Context() context.Context
	Cleanup(func())
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Database returns the connection string of a new, empty database. When the test ends the database
// is dropped and its sessions end. A failure fails the test. Database may be called from parallel
// tests, and several times in one.
//
// On a server started here the caller is superuser. On PGTEST_URL's server the caller is the role
// in that URL, which needs the right to create databases.
func Database(t TB) string {
	t.Helper()
	// Not t.Context alone: it ends before the cleanup that drops the database.
	s, err := Acquire(t.Context(), Options{})
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(s.Release)

	name := databaseName(t.Name())
	if err := s.admin(t.Context(), adminLimit, func(ctx context.Context, conn *pgx.Conn) error {
		return s.create(ctx, conn, name)
	}); err != nil {
		t.Fatalf("pgserver: create database: %v", err)
	}
	t.Cleanup(func() {
		drop := "drop database if exists " + pgx.Identifier{name}.Sanitize() + " with (force)"
		err := s.admin(context.WithoutCancel(t.Context()), adminLimit, func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, drop)
			return err
		})
		if err != nil {
			t.Errorf("pgserver: drop database: %v", err)
		}
	})
	return s.DatabaseURL(name)
}

func (s *Server) create(ctx context.Context, conn *pgx.Conn, name string) error {
	sql := "create database " + pgx.Identifier{name}.Sanitize()
	// Copying files beats logging each page where nothing is flushed to disk (19 against 38 ms);
	// elsewhere it would force a checkpoint of the whole cluster. PostgreSQL 15 and later
	// know the choice.
	if v, _ := strconv.Atoi(strings.SplitN(conn.PgConn().ParameterStatus("server_version"), ".", 2)[0]); s.own &&
		v >= 15 {
		sql += " strategy file_copy"
	}
	_, err := conn.Exec(ctx, sql)
	return err
}

const (
	adminLimit = 30 * time.Second
	copyLimit  = 10 * time.Minute // of a development database, which may be large
)

// admin runs fn on a connection of its own to the server's maintenance database.
func (s *Server) admin(ctx context.Context, limit time.Duration, fn func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cfg, err := ParseConfig(s.URL())
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err // pgx leaves the password out of connect errors
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return fn(ctx, conn)
}

// databaseName makes a readable and unique name within PostgreSQL's 63 bytes.
func databaseName(test string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '_'
	}, test)
	var random [6]byte
	rand.Read(random[:]) // never fails
	return fmt.Sprintf("test_%.40s_%s", clean, hex.EncodeToString(random[:]))
}
