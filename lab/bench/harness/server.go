package harness

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// errURL replaces pgx's error, which may hold a password.
var errURL = errors.New("the server's URL cannot be parsed")

// Session connects, calls fn and closes the connection.
func Session(ctx context.Context, url string, fn func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return errors.Join(fn(conn), conn.Close(context.WithoutCancel(ctx)))
}

// ConnConfig parses a URL.
func ConnConfig(url string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errURL
	}
	return cfg, nil
}

// PoolConfig parses a URL.
func PoolConfig(url string) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errURL
	}
	return cfg, nil
}

// Pool returns a pgxpool with at most conns connections.
func Pool(ctx context.Context, url string, conns int32) (*pgxpool.Pool, error) {
	cfg, err := PoolConfig(url)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = conns
	return pgxpool.NewWithConfig(ctx, cfg)
}

// Database makes an empty database on the throw-away server. drop removes it.
func Database(ctx context.Context) (url string, drop func(), err error) {
	server, err := pgserver.Acquire(ctx, pgserver.Options{})
	if err != nil {
		return "", nil, err
	}
	name := "bench_" + strings.ToLower(rand.Text())
	admin := func(sql string) error {
		ctx := context.WithoutCancel(ctx)
		return Session(ctx, server.URL(), func(conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, sql)
			return err
		})
	}
	if err := admin("create database " + name); err != nil {
		server.Release()
		return "", nil, err
	}
	return server.DatabaseURL(name), func() {
		if err := admin("drop database " + name + " with (force)"); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		server.Release()
	}, nil
}

// StartServer starts a server with PostgreSQL's defaults and these settings, which ends with the
// test. The URL leads to an empty database.
func StartServer(t fault.TB, settings map[string]string) (server *fault.Server, url string) {
	all := map[string]string{"fsync": "on", "shared_buffers": "128MB"}
	maps.Copy(all, settings)
	server = fault.NewServer(t, fault.ServerOptions{Settings: all})
	server.Exec(t, "create database app")
	return server, server.DatabaseURL("app")
}
