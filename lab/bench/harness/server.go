package harness

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
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

// Server is a server that a comparison may configure and kill.
type Server struct {
	URL string // of the database app
	t   *Test
	kit *fault.Server

	standby *fault.Server // nil without one
}

// StartServer starts a server with PostgreSQL's defaults and these settings. Remove ends it.
func StartServer(ctx context.Context, settings map[string]string) (*Server, error) {
	s := &Server{t: &Test{Ctx: ctx}}
	if settings == nil {
		settings = map[string]string{}
	}
	for name, value := range map[string]string{"fsync": "on", "shared_buffers": "128MB"} {
		if _, ok := settings[name]; !ok {
			settings[name] = value
		}
	}
	err := s.t.Try(func() {
		s.kit = fault.NewServer(s.t, fault.ServerOptions{Settings: settings})
		s.kit.Exec(s.t, "create database app")
		s.URL = s.kit.DatabaseURL("app")
	})
	if err != nil {
		s.Remove()
		return nil, err
	}
	return s, nil
}

// Start starts a server that is down.
func (s *Server) Start() error { return s.t.Try(func() { s.kit.Start(s.t) }) }

// Kill ends the server's processes with SIGKILL.
func (s *Server) Kill() error { return s.t.Try(func() { s.kit.Kill(s.t) }) }

// Configure restarts the server with other settings.
func (s *Server) Configure(settings map[string]string) error {
	return s.t.Try(func() {
		s.kit.Configure(s.t, settings)
		s.kit.Restart(s.t)
	})
}

// SlowStandby makes a standby that receives at most so many bytes of WAL a second.
func (s *Server) SlowStandby(bytesPerSecond int) error {
	return s.t.Try(func() {
		s.standby = s.kit.Standby(s.t, nil)
		s.standby.Link().Rate(fault.FromServer, bytesPerSecond)
	})
}

// CatchUp returns when the standby has replayed all that the server has written.
func (s *Server) CatchUp() error { return s.t.Try(func() { s.standby.CatchUp(s.t) }) }

// Remove ends the server and deletes its files.
func (s *Server) Remove() {
	if err := s.t.Try(s.t.end); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}
