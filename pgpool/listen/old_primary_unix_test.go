//go:build unix

package listen_test

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgpool/listen"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// After a failover the old primary still runs and the writers use the new one. The listener must
// follow them.
func TestListenerLeavesAnOldPrimary(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(t *testing.T, old *fault.Server){
		"fenced": func(t *testing.T, old *fault.Server) {
			t.Helper()
			old.Exec(t, `alter system set default_transaction_read_only = on`, `select pg_reload_conf()`)
		},
		"frozen": freeze, // by SIGSTOP
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			old := fault.NewServer(t, fault.ServerOptions{})
			next := old.Standby(t, nil)
			config := parse(t, fault.HostsURL("read-write", old, next))
			config.ConnectTimeout = time.Second
			listener := newListener(t, config, listen.WithHeartbeat(50*time.Millisecond))
			heard := hear(t, listener)
			run(t, listener)
			eventually(t, func() bool { return alive(listener) })
			lose(t, old)
			eventually(t, func() bool { return !alive(listener) })
			next.Promote(t)
			eventually(t, func() bool { return alive(listener) })
			next.Exec(t, `notify pages, 'on the new primary'`)
			if got := receive(t, heard); got != "on the new primary" {
				t.Errorf("heard %q", got)
			}
		})
	}
}

// freeze stops all processes of a server until the end of the test.
func freeze(t *testing.T, server *fault.Server) {
	t.Helper()
	rows, _ := connect(t, parse(t, server.URL())).Query(t.Context(), `select pid from pg_stat_activity`)
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		t.Fatal(err)
	}
	lock, err := os.ReadFile(server.Data("postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(lock), "\n")
	postmaster, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range append([]int{postmaster}, pids...) {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	}
}
