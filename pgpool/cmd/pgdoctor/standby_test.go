package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// A server that was told to be a standby is one, also without a primary.
func TestStandby(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "pd") // short enough for a socket, and the server's user has to enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // holds no secret
		t.Fatal(err)
	}
	server := pgserver.Dev{Name: "s", Dir: dir}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := server.Remove(ctx); err != nil {
			t.Error(err)
		}
	})
	url, err := server.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "s", "data", "standby.signal"), nil, 0o644); err != nil { // the server reads it
		t.Fatal(err)
	}
	if _, err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	code, output := examine(t, map[string]string{"DATABASE_URL": url, "DATABASE_REPLICA_URLS": url})
	if code != fine {
		t.Errorf("code %d, want %d", code, fine)
	}
	contains(t, output, "Database ok connection", "warn role standby, read-only: writes fail here", "Replica 1 ok connection", "ok role standby")
}
