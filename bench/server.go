package main

import (
	"context"
	"fmt"
	"os"
	"time"

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
	if err = os.Chmod(dir, 0o755); err == nil { //nolint:gosec // the server's user has to enter
		s.url, err = s.Start(ctx)
	}
	if err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
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
