package pghealth_test

import (
	"context"
	"log"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/alexliesenfeld/health"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
)

// The ready-made handlers on a standard library mux, and a shutdown that stops the traffic first.
func ExampleNew() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	pool, err := pgxpool.New(ctx, "") // or pgpool.Connect
	if err != nil {
		log.Print(err)
		return
	}
	defer pool.Close()

	probe, err := pghealth.New(pool, pghealth.Options{})
	if err != nil {
		log.Print(err)
		return
	}
	defer probe.Close()

	mux := http.NewServeMux()
	mux.Handle("/livez", probe.Live())
	mux.Handle("/readyz", probe.Ready())
	mux.Handle("/startupz", probe.Startup())
	server := &http.Server{Addr: ":8080", Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { log.Print(server.ListenAndServe()) }()

	<-ctx.Done()                // SIGTERM
	probe.Drain()               // Ready: 503
	time.Sleep(5 * time.Second) // until the load balancer has asked and reacted
	_ = server.Shutdown(context.Background())
}

// An application that has a health.Checker of its own, here with a check of a cache, adds the probe's.
func ExampleProbe_Checks() {
	var (
		pool      *pgxpool.Pool
		pingCache func(context.Context) error
	)
	probe, err := pghealth.New(pool, pghealth.Options{})
	if err != nil {
		log.Print(err)
		return
	}
	defer probe.Close()

	checker := health.NewChecker(
		health.WithChecks(probe.Checks()...),
		health.WithCheck(health.Check{Name: "cache", Timeout: time.Second, Check: pingCache}),
	)
	defer checker.Stop()
	http.Handle("/readyz", health.NewHandler(checker, health.WithResultWriter(probe.ResultWriter())))
	http.Handle("/livez", probe.Live()) // not the checker's: liveness leaves the database alone
}

// A binary that needs version 12 of a schema that tern migrates.
func ExampleSchemaFunc() {
	var pool *pgxpool.Pool
	probe, err := pghealth.New(pool, pghealth.Options{
		Schema: pghealth.SchemaFunc(func(ctx context.Context, conn *pgx.Conn) (pghealth.SchemaVersion, error) {
			v := pghealth.SchemaVersion{Needed: 12}
			err := conn.QueryRow(ctx, "select version from public.schema_version").Scan(&v.Current)
			return v, err
		}),
	})
	if err != nil {
		log.Print(err)
		return
	}
	defer probe.Close()
}
