package pgtx_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// ownBundle is a server that the test may change, with the tables of setup.
type ownBundle struct {
	server *fault.Server
	*bundle
}

func setupOwn(t *testing.T) *ownBundle {
	t.Helper()
	server := fault.NewServer(t, fault.ServerOptions{})
	return &ownBundle{server, setupOn(t, server.URL())}
}

func (s *ownBundle) restart(t *testing.T) {
	t.Helper()
	s.server.Kill(t)
	s.server.Start(t)
	s.answers(t)
}

// killBackend has the server start anew as after a crash, without its postmaster being another.
func (s *ownBundle) killBackend(t *testing.T) {
	t.Helper()
	var pid int
	if err := s.pool.QueryRow(t.Context(), `select pg_backend_pid()`).Scan(&pid); err != nil || pid < 2 {
		t.Fatalf("pid is %d: %v", pid, err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.answers(t)
}

// answers waits until the server does.
func (s *ownBundle) answers(t *testing.T) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = s.pool.QueryRow(t.Context(), `select 1`).Scan(new(int)); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// set changes a setting of the running server and waits until it is in force.
func (s *ownBundle) set(t *testing.T, name, value string) {
	t.Helper()
	for _, sql := range []string{fmt.Sprintf(`alter system set %s = '%s'`, name, value), `select pg_reload_conf()`} {
		if _, err := s.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	s.eventually(t, fmt.Sprintf(`select current_setting('%s') = '%s'`, name, value))
}
