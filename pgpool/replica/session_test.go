package replica_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
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
