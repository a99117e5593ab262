package pgpool_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// BenchmarkPool compares a plain pool with one that has this package's defaults.
func BenchmarkPool(b *testing.B) {
	config, err := pgxpool.ParseConfig(pgserver.Database(b))
	if err != nil {
		b.Fatal("cannot parse the database's URL")
	}
	ctx, cancel := context.WithCancel(b.Context()) // can end, like a request's
	defer cancel()
	for name, connect := range map[string]func() (*pgxpool.Pool, error){
		"pgxpool": func() (*pgxpool.Pool, error) { return pgxpool.NewWithConfig(ctx, config.Copy()) },
		"pgpool":  func() (*pgxpool.Pool, error) { return pgpool.ConnectConfig(ctx, config, pgpool.WithLogger(nil)) },
	} {
		pool, err := connect()
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(pool.Close)
		b.Run("acquire/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				conn, err := pool.Acquire(ctx)
				if err != nil {
					b.Fatal(err)
				}
				conn.Release()
			}
		})
		b.Run("query/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var n int
				if err := pool.QueryRow(ctx, `select $1::int`, 7).Scan(&n); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
