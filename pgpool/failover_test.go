package pgpool_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// To a single connection, a demoted server looks like a session whose default becomes read-only.
func TestReadOnlyServerIsLeft(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 3
	var log logs
	pool := connect(t, config, pgpool.WithLogger(log.Logger()))
	if _, err := pool.Exec(t.Context(), `create table notes (id int)`); err != nil {
		t.Fatal(err)
	}
	var before []uint32
	held := []*pgxpool.Conn{acquire(t, pool), acquire(t, pool), acquire(t, pool)}
	for _, conn := range held {
		if _, err := conn.Exec(t.Context(), `set default_transaction_read_only = on`); err != nil {
			t.Fatal(err)
		}
		before = append(before, conn.Conn().PgConn().PID())
	}
	for _, conn := range held {
		conn.Release()
	}

	if _, err := pool.Exec(t.Context(), `insert into notes values (1)`); pgerr.Of(err) != pgerr.ReadOnly {
		t.Fatalf("error is %v, want read_only", err)
	}
	// All three were replaced, including the two that never met the error.
	for range 3 {
		conn := acquire(t, pool)
		for _, pid := range before {
			if conn.Conn().PgConn().PID() == pid {
				t.Errorf("connection %d was kept", pid)
			}
		}
		if _, err := conn.Exec(t.Context(), `insert into notes values (2)`); err != nil {
			t.Error(err)
		}
	}
	if len(log.Lines("leads to the wrong server")) != 1 {
		t.Errorf("log is %q, want one line about the role", &log)
	}
}

// While the server stays read-only, each connection meets that once and is replaced. The pool
// replaces at most as many connections a second as it has, so that it does not reconnect for every
// write.
func TestConnectionsToReadOnlyServerFailOnce(t *testing.T) {
	t.Parallel()
	server := fault.NewServer(t, fault.ServerOptions{})
	config := parse(t, server.URL())
	config.MaxConns = 4
	pool := connect(t, config)
	if _, err := pool.Exec(t.Context(), `create table notes (id int)`); err != nil {
		t.Fatal(err)
	}
	server.Exec(t, `alter system set default_transaction_read_only = on`, `select pg_reload_conf()`)
	pool.Reset() // a change of the server's role ends its sessions
	const writes = 40
	failed := map[uint32]int{}
	began := time.Now()
	for range writes {
		conn := acquire(t, pool)
		if _, err := conn.Exec(t.Context(), `insert into notes values (1)`); pgerr.Of(err) != pgerr.ReadOnly {
			t.Fatalf("error is %v, want read_only", err)
		}
		failed[conn.Conn().PgConn().PID()]++
		conn.Release()
	}
	seconds := int(time.Since(began)/time.Second) + 1
	// In each second one reset, and MaxConns connections one by one.
	if got, least, most := len(failed), 1+int(config.MaxConns), 1+seconds*(1+int(config.MaxConns)); got < least ||
		got > most {
		t.Errorf("%d connections failed in %d seconds, want %d to %d", got, seconds, least, most)
	}
}

func TestReadOnlyTransactionIsLeftAlone(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 1
	var log logs
	pool := connect(t, config, pgpool.WithLogger(log.Logger()))
	pid := pidOf(t, pool)
	err := pgx.BeginTxFunc(t.Context(), pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		_, err := tx.Exec(context.Background(), `create table notes (id int)`)
		return err
	})
	if pgerr.Of(err) != pgerr.ReadOnly {
		t.Fatalf("error is %v, want read_only", err)
	}
	if after := pidOf(t, pool); after != pid {
		t.Errorf("connection %d was replaced by %d", pid, after)
	}
	if len(log.Lines("leads to the wrong server")) != 0 {
		t.Errorf("log is %q, want nothing about the role", &log)
	}
}

// An operator may make a role read-only. The server has not changed then, so connections stay.
func TestRoleThatReadsOnly(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 1
	admin := connect(t, config)
	name := pgx.Identifier{config.ConnConfig.Database}.Sanitize()
	if _, err := admin.Exec(t.Context(), `alter database `+name+` set default_transaction_read_only = on`); err != nil {
		t.Fatal(err)
	}
	var log logs
	pool := connect(t, config, pgpool.WithLogger(log.Logger()))
	pid := pidOf(t, pool)
	for range 3 {
		if _, err := pool.Exec(t.Context(), `create table notes (id int)`); pgerr.Of(err) != pgerr.ReadOnly {
			t.Fatalf("error is %v, want read_only", err)
		}
		if after := pidOf(t, pool); after != pid {
			t.Errorf("connection %d was replaced by %d", pid, after)
		}
	}
	if len(log.Lines("leads to the wrong server")) != 0 {
		t.Errorf("log is %q, want nothing about the server", &log)
	}
}

// A pool that is read-only by configuration keeps its connections after a refused write.
func TestPoolThatReadsOnly(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 1
	config.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on"
	pool := connect(t, config)
	pid := pidOf(t, pool)
	if _, err := pool.Exec(t.Context(), `create table notes (id int)`); pgerr.Of(err) != pgerr.ReadOnly {
		t.Fatalf("error is %v, want read_only", err)
	}
	if after := pidOf(t, pool); after != pid {
		t.Errorf("connection %d was replaced by %d", pid, after)
	}
}

// The caller's hooks still run.
func TestCallersHooksAreCalled(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(config *pgxpool.Config, called func()){
		"PrepareConn": func(config *pgxpool.Config, called func()) {
			config.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) { called(); return true, nil }
		},
		"BeforeAcquire": func(config *pgxpool.Config, called func()) {
			//nolint:staticcheck // users still set it
			config.BeforeAcquire = func(context.Context, *pgx.Conn) bool {
				called()
				return true
			}
		},
		"AfterConnect": func(config *pgxpool.Config, called func()) {
			config.AfterConnect = func(context.Context, *pgx.Conn) error { called(); return nil }
		},
		"BeforeClose": func(config *pgxpool.Config, called func()) {
			config.BeforeClose = func(*pgx.Conn) { called() }
		},
		"ShouldPing": func(config *pgxpool.Config, called func()) {
			config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { called(); return true }
		},
		"BeforeConnect": func(config *pgxpool.Config, called func()) {
			config.BeforeConnect = func(context.Context, *pgx.ConnConfig) error { called(); return nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := database(t)
			calls := make(chan string, 100)
			set(config, func() { calls <- name })
			pool := connect(t, config, pgpool.WithPassword(func(context.Context) (string, error) { return "", nil }))
			if _, err := pool.Exec(t.Context(), `select 1`); err != nil {
				t.Fatal(err)
			}
			pool.Close()
			if len(calls) == 0 {
				t.Error("was not called")
			}
		})
	}
}

// A Config that was read from a pool makes an independent one.
func TestConfigOfAnotherPool(t *testing.T) {
	t.Parallel()
	config := database(t)
	seen := &counting{}
	config.ConnConfig.Tracer = seen
	first := connect(t, config)
	second := connect(t, first.Config())
	conn := acquire(t, second)
	if len(pgpool.Holders(first)) != 0 || len(pgpool.Holders(second)) != 1 {
		t.Errorf("%d and %d holders, want 0 and 1", len(pgpool.Holders(first)), len(pgpool.Holders(second)))
	}
	before := seen.started.Load()
	if _, err := conn.Exec(t.Context(), `select 1`); err != nil {
		t.Fatal(err)
	}
	if got := seen.started.Load() - before; got != 1 {
		t.Errorf("the caller's tracer saw %d queries, want 1", got)
	}
}

func pidOf(t *testing.T, pool *pgxpool.Pool) uint32 {
	t.Helper()
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	return conn.Conn().PgConn().PID()
}
