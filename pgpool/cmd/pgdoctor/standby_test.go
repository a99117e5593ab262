package main

import (
	"testing"

	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// A server that is configured as a standby counts as one, even without a primary.
func TestStandby(t *testing.T) {
	t.Parallel()
	server := fault.NewServer(t, fault.ServerOptions{})
	server.Write(t, "standby.signal", "")
	server.Restart(t)
	url := server.URL()
	code, output := examine(t, map[string]string{"DATABASE_URL": url, "DATABASE_REPLICA_URLS": url})
	if code != fine {
		t.Errorf("code %d, want %d", code, fine)
	}
	contains(t, output, "Database ok connection", "warn role standby, read-only: writes fail here",
		"Replica 1 ok connection", "ok role standby")
}
