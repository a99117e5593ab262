package pghealth_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
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

// An application that has a health.Checker of its own, with a check of Redis, adds the probe's.
func ExampleProbe_Checks() {
	var pool *pgxpool.Pool
	probe, err := pghealth.New(pool, pghealth.Options{})
	if err != nil {
		log.Print(err)
		return
	}
	defer probe.Close()

	checker := health.NewChecker(
		health.WithChecks(probe.Checks()...),
		health.WithPeriodicCheck(5*time.Second, 0, health.Check{Name: "redis", Timeout: time.Second, Check: pingRedis("127.0.0.1:6379")}),
	)
	defer checker.Stop()
	http.Handle("/readyz", health.NewHandler(checker,
		health.WithResultWriter(probe.ResultWriter()),
		health.WithMiddleware(pghealth.StaleAfter(15*time.Second)), // of periodic checks that hang, the last status is served no longer
	))
	http.Handle("/livez", probe.Live()) // not the checker's: liveness leaves the database alone
}

// pingRedis is a check that has nothing to do with this package.
func pingRedis(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		if deadline, ok := ctx.Deadline(); ok {
			if err := conn.SetDeadline(deadline); err != nil {
				return err
			}
		}
		if _, err := conn.Write([]byte("PING\r\n")); err != nil {
			return err
		}
		answer, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			return err
		}
		if answer != "+PONG\r\n" {
			return fmt.Errorf("redis answers %q to PING", answer)
		}
		return nil
	}
}

// Checks one by one: what gates the traffic is asked, what warns is looked at twice a minute.
func ExampleProbe_Transactions() {
	var probe *pghealth.Probe
	checker := health.NewChecker(
		health.WithChecks(probe.Serving(), probe.Connectivity(), probe.Saturation()),
		health.WithPeriodicCheck(30*time.Second, 0, probe.Transactions()),
		health.WithPeriodicCheck(30*time.Second, 0, probe.Connections()),
	)
	defer checker.Stop()
}

// A probe of a pool of read replicas, for a service whose reads may be half a minute old, and which hears of changes by LISTEN.
func ExampleOptions() {
	var (
		replicas *pgxpool.Pool
		listener interface { // whoever runs LISTEN
			Connected() (since time.Time, ok bool)
		}
	)
	probe, err := pghealth.New(replicas, pghealth.Options{
		Name:          "replica",
		AllowReadOnly: true,
		MaxReplicaLag: 30 * time.Second,
		Listener: pghealth.ListenerFunc(func() (time.Time, error) {
			since, ok := listener.Connected()
			if !ok {
				return since, errors.New("LISTEN is not connected")
			}
			return since, nil
		}),
		Token: pghealth.Token(os.Getenv("HEALTH_TOKEN")),
	})
	if err != nil {
		log.Print(err)
		return
	}
	defer probe.Close()
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
