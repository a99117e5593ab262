package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// ownServer is a server that a comparison may restart.
type ownServer struct {
	pgserver.Dev
	url string
}

func startServer(ctx context.Context) (*ownServer, error) {
	dir, err := os.MkdirTemp("", "pb")
	if err != nil {
		return nil, err
	}
	s := &ownServer{Dev: pgserver.Dev{Name: "s", Dir: dir}}
	if err = os.Chmod(dir, 0o755); err == nil { // the server's user has to enter
		s.url, err = s.Start(ctx)
	}
	if err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

// configure restarts the server with other settings.
func (s *ownServer) configure(ctx context.Context, settings ...string) error {
	file, err := os.OpenFile(filepath.Join(s.Dir, s.Name, "data", "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, strings.Join(settings, "\n"))
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return s.restart(ctx)
}

func (s *ownServer) restart(ctx context.Context) error {
	if err := s.Stop(ctx); err != nil {
		return err
	}
	_, err := s.Start(ctx)
	return err
}

func (s *ownServer) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.Remove(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	_ = os.RemoveAll(s.Dir)
}

// postmaster is the process id of the running server.
func (s *ownServer) postmaster() (int, error) {
	text, err := os.ReadFile(filepath.Join(s.Dir, s.Name, "data", "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil || pid < 2 {
		return 0, fmt.Errorf("no process id in postmaster.pid: %w", err)
	}
	return pid, nil
}

// askPassword makes a role whose password the server asks for from its next start on: all others
// are trusted.
func (s *ownServer) askPassword(ctx context.Context, role, password string) error {
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, fmt.Sprintf("create role %s login password '%s'", role, password))
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		return err
	}
	path := filepath.Join(s.Dir, s.Name, "data", "pg_hba.conf")
	trusted, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(file, "local all %s scram-sha-256\n%s", role, trusted)
	return errors.Join(err, file.Close())
}
