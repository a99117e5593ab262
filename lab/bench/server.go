package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	faultkit "github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// ownServer is a server that a comparison may restart.
type ownServer struct {
	t   *test
	kit *faultkit.Server
	url string
}

// startServer starts a server with PostgreSQL's defaults. remove ends it.
func startServer(ctx context.Context) (*ownServer, error) {
	s := &ownServer{t: &test{ctx: ctx}}
	err := s.t.try(func() {
		s.kit = faultkit.NewServer(s.t, faultkit.ServerOptions{
			Settings: map[string]string{"fsync": "on", "shared_buffers": "128MB"},
		})
		s.kit.Exec(s.t, "create database app")
		s.url = s.kit.DatabaseURL("app")
	})
	if err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

func (s *ownServer) start(context.Context) error   { return s.t.try(func() { s.kit.Start(s.t) }) }
func (s *ownServer) stop(context.Context) error    { return s.t.try(func() { s.kit.Stop(s.t) }) }
func (s *ownServer) restart(context.Context) error { return s.t.try(func() { s.kit.Restart(s.t) }) }
func (s *ownServer) kill(context.Context) error    { return s.t.try(func() { s.kit.Kill(s.t) }) }

// configure restarts the server with other settings.
func (s *ownServer) configure(_ context.Context, settings map[string]string) error {
	return s.t.try(func() {
		s.kit.Configure(s.t, settings)
		s.kit.Restart(s.t)
	})
}

func (s *ownServer) remove() {
	if err := s.t.try(s.t.end); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

// postmaster is the process id of the running server.
func (s *ownServer) postmaster() (int, error) {
	text, err := os.ReadFile(s.kit.Data("postmaster.pid"))
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
func (s *ownServer) askPassword(role, password string) error {
	return s.t.try(func() {
		s.kit.Exec(s.t, fmt.Sprintf("create role %s login password '%s'", role, password))
		s.kit.Write(s.t, "pg_hba.conf", fmt.Sprintf("local all %s scram-sha-256\nlocal all all trust\n", role))
	})
}
