package replica_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// The pool may notice the loss of the server before the health connection does. The replica is then
// out of use until the next check.
func sessionEnded(t *testing.T, s *servers) {
	var log logs
	c := open(t, config(t, s.p.URL(), []string{s.a.URL(), s.b.URL()}), pgpool.WithLogger(log.Logger()))
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

// Whether PgBouncer is in front of a replica depends on the replica's own URL, not on the
// primary's.
func TestReplicaBehindPgBouncer(t *testing.T) {
	t.Parallel()
	p := fault.NewServer(t, fault.ServerOptions{})
	bouncer := fault.NewPgBouncer(t, p.Standby(t, nil).URL(), nil)
	var log logs
	c := open(t, config(t, p.URL(), []string{bouncer.URL() + "&pgbouncer=true"}), pgpool.WithLogger(log.Logger()))
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
