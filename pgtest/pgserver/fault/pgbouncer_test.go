package fault_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

func simple(cfg *pgx.ConnConfig) { cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol }

// In transaction mode two clients share a session of the server, in session mode each has its own.
func TestPgBouncer(t *testing.T) {
	t.Parallel()
	for mode, settings := range map[string]map[string]string{
		"transaction": {"default_pool_size": "1"},
		"session":     {"pool_mode": "session"},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			database := pgserver.Database(t)
			b := fault.NewPgBouncer(t, database, settings)
			first, second := connect(t, b.URL(), simple), connect(t, b.URL(), simple)
			name := scan[string](t, first, "select current_database()::text")
			if !strings.Contains(database, name) {
				t.Errorf("the database is %s, want the one of %s", name, database)
			}
			shared := scan[int](t, first, "select pg_backend_pid()") == scan[int](t, second, "select pg_backend_pid()")
			if shared != (mode == "transaction") {
				t.Errorf("in %s mode, a shared session: %v", mode, shared)
			}
		})
	}
}

func TestPgBouncerStopAndStart(t *testing.T) {
	t.Parallel()
	b := fault.NewPgBouncer(t, pgserver.Database(t), nil)
	conn := connect(t, b.URL(), simple)
	b.Stop()
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("the open connection works")
	}
	if _, err := tryConnect(t.Context(), b.URL()); err == nil {
		t.Error("it accepts connections")
	}
	b.Start(t)
	execute(t, connect(t, b.URL(), simple), "select 1")
}

// A server that asks for a password gets it from PgBouncer, and a proxy may stand between the two.
func TestPgBouncerBehindProxy(t *testing.T) {
	t.Parallel()
	server := fault.NewServer(t, fault.ServerOptions{TCP: true})
	p := fault.NewProxy(t, server.URL(), fault.Options{})
	b := fault.NewPgBouncer(t, p.URL(), nil)
	execute(t, connect(t, b.URL(), simple), "select 1")
	if p.Stats().Connections == 0 {
		t.Error("PgBouncer is not connected through the proxy")
	}
}

func TestPgBouncerFails(t *testing.T) {
	t.Parallel()
	r := &recorder{T: t}
	r.run(func() {
		fault.NewPgBouncer(r, pgserver.Database(t), map[string]string{"pool_mode": "sometimes"})
	})
	r.failed(t, "sometimes")
}

func TestPgBouncerMissing(t *testing.T) {
	r := &recorder{T: t}
	t.Setenv("PATH", "")
	r.run(func() { fault.NewPgBouncer(r, "postgres://app@127.0.0.1:1/app", nil) })
	if !strings.Contains(r.skipped, "pgbouncer is not installed") {
		t.Errorf("skipped: %q, failures: %q", r.skipped, r.failures)
	}
}
