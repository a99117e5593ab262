package pghealth_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/alexliesenfeld/health"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
)

// The ready-made handlers on a mux of the standard library. The shutdown stops the traffic first.
func Example() {
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
	go func() { log.Print(http.ListenAndServe("localhost:6060", probe.Details())) }() // for operators

	<-ctx.Done()                // SIGTERM
	probe.Drain()               // Ready: 503
	time.Sleep(5 * time.Second) // until the load balancer has asked and reacted
	_ = server.Shutdown(context.Background())
}

// withPassword asks for a password by HTTP's basic authentication, which browsers can do. Serve it
// over TLS. The user's name does not matter.
func withPassword(password string, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(password))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, given, _ := r.BasicAuth()
		got := sha256.Sum256([]byte(given))
		if subtle.ConstantTimeCompare(want[:], got[:]) == 0 || password == "" {
			w.Header().Set("WWW-Authenticate", `Basic realm="health"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// An application with two databases and its own health.Checker, with a check of Redis.
func Example_checker() {
	var primary, reports *pghealth.Probe
	both, err := pghealth.Join(primary, reports) // each New with its own Options.Name
	if err != nil {
		log.Print(err)
		return
	}
	defer both.Close()

	redis := health.Check{Name: "redis", Timeout: time.Second, Check: pingRedis("127.0.0.1:6379")}
	checker := health.NewChecker(
		health.WithChecks(both.Checks()...),
		health.WithPeriodicCheck(5*time.Second, 0, redis),
	)
	defer checker.Stop()
	http.Handle("/readyz", health.NewHandler(checker, health.WithResultWriter(both.ResultWriter())))
	http.Handle("/livez", both.Live()) // not the checker's: liveness leaves the database alone
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
