package pgserver_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// BenchmarkAcquire measures the time until the first query is answered: start, with a cached data
// directory and no server yet, and join, with one running.
func BenchmarkAcquire(b *testing.B) {
	ctx := context.Background()
	firstQuery := func(b *testing.B, s *pgserver.Server) {
		conn, err := pgx.Connect(ctx, s.URL())
		if err != nil {
			b.Fatal(err)
		}
		var one int
		if err := conn.QueryRow(ctx, "select 1").Scan(&one); err != nil {
			b.Fatal(err)
		}
		conn.Close(ctx)
	}
	warm, err := pgserver.Acquire(ctx, pgserver.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer warm.Release()

	b.Run("start", func(b *testing.B) {
		for b.Loop() {
			// A directory of its own makes a server of its own.
			s, err := pgserver.Acquire(ctx, pgserver.Options{Dir: shortTempDir(b)})
			if err != nil {
				b.Fatal(err)
			}
			firstQuery(b, s)
			s.Release()
		}
	})
	b.Run("join", func(b *testing.B) {
		for b.Loop() {
			s, err := pgserver.Acquire(ctx, pgserver.Options{})
			if err != nil {
				b.Fatal(err)
			}
			firstQuery(b, s)
			s.Release()
		}
	})
}
