// Command taste is the README's first program: connect, write in a transaction, answer probes.
package main

import (
	"context"
	"log"
	"net/http"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtx"
)

func main() {
	ctx := context.Background()
	pool, err := pgpool.Default(ctx) // from DATABASE_URL; waits for a server that is still starting
	if err != nil {
		log.Fatal(err)
	}
	err = pgtx.Run(ctx, pool, func(ctx context.Context, tx pgx.Tx) error { // runs again after a serialization failure
		_, err := tx.Exec(ctx, "insert into health_checks (component, status, latency_ms) values ('taste', 'up', 1)")
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	probe, err := pghealth.New(pool, pghealth.Options{})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/livez", probe.Live())   // never touches the database
	http.Handle("/readyz", probe.Ready()) // its own connection: a busy pool is not a broken one
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", nil))
}
