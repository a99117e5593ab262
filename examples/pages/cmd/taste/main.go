// Command taste is the README's first program: it connects and writes in a transaction.
package main

import (
	"context"
	"log"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtx"
)

func main() {
	ctx := context.Background()
	pool, err := pgpool.Default(ctx) // reads DATABASE_URL, and waits for a server that is still starting
	if err != nil {
		log.Fatal(err)
	}
	err = pgtx.Run(ctx, pool, func(ctx context.Context, tx pgx.Tx) error { // runs again after a deadlock
		_, err := tx.Exec(ctx, "insert into health_checks (component, status, latency_ms) values ('taste', 'up', 1)")
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
}
