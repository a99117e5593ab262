package replica_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// The pool hears of the server's end before the connection that looks after it does: the replica is
// left until it has been looked at.
func sessionEnded(t *testing.T, s *servers) {
	var log logs
	c := open(t, config(t, s.p.URL(), []string{s.a.URL(), s.b.URL()}), log.option())
	used(t, c, s.a.SocketDir(), s.b.SocketDir())
	const left = "replica is not read from"
	before := strings.Count(log.String(), left)
	for name, use := range map[string]func(context.Context, *pgxpool.Conn) error{
		"query": func(ctx context.Context, conn *pgxpool.Conn) error {
			_, err := conn.Exec(ctx, `select 1`)
			return err
		},
		"batch": func(ctx context.Context, conn *pgxpool.Conn) error {
			batch := &pgx.Batch{}
			batch.Queue(`select 1`)
			return conn.SendBatch(ctx, batch).Close()
		},
	} {
		conn, err := c.Reader(t.Context()).Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		on := s.a
		if conn.Conn().Config().Host == s.b.SocketDir() {
			on = s.b
		}
		if _, err := dial(t, on).Exec(t.Context(), `select pg_terminate_backend($1, 10000)`,
			conn.Conn().PgConn().PID()); err != nil {
			t.Fatal(err)
		}
		err = use(t.Context(), conn)
		conn.Release()
		if got := pgerr.Of(err); got != pgerr.Shutdown && got != pgerr.Connection {
			t.Errorf("%s: error is %v of category %s", name, err, got)
		}
		before++
		if got := strings.Count(log.String(), left); got != before {
			t.Errorf("%s: %d replicas left, want %d:\n%s", name, got, before, &log)
		}
		used(t, c, s.a.SocketDir(), s.b.SocketDir()) // it was only the session
	}
}

// A replica's URL says by itself that PgBouncer is in front of it. The primary's says nothing about
// that.
func TestReplicaBehindPgBouncer(t *testing.T) {
	t.Parallel()
	p := fault.NewServer(t, fault.ServerOptions{})
	bouncer := fault.NewPgBouncer(t, p.Standby(t, nil).URL(), nil)
	var log logs
	c := open(t, config(t, p.URL(), []string{bouncer.URL() + "&pgbouncer=true"}), log.option())
	eventually(t, func() bool { return c.Reader(t.Context()) != c.Primary() }, func() any { return c.Replicas() })
	for range 3 {
		var standby bool
		err := c.Reader(t.Context()).QueryRow(t.Context(), `select pg_is_in_recovery() from (values ($1::int)) v`, 1).
			Scan(&standby)
		if err != nil || !standby {
			t.Errorf("read from a standby: %v, %v", standby, err)
		}
	}
	if strings.Contains(log.String(), "the configuration does not say so") {
		t.Errorf("log is %s", &log)
	}
}
