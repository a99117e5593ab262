// Command shop sells products. Customers order and pay, and each payment is copied to a second
// database for reports. README.md lists the routes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alexliesenfeld/health"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgotel"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/listen"

	"github.com/page-builder/persistence/examples/shop/db"
)

// endLimit limits the requests in progress after the drain, and then the release of a pool.
const endLimit = 20 * time.Second

func main() {
	address := flag.String("address", "127.0.0.1:8080", "where to listen")
	drain := flag.Duration("drain", 0, "how long to serve after /readyz says no, for the load balancer to notice")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := run(ctx, *address, *drain); err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

// run serves until ctx is done, and then ends without losing a request.
func run(ctx context.Context, address string, drain time.Duration) (err error) {
	registry := prometheus.NewRegistry()
	reader, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	if err != nil {
		return err
	}
	meters := metric.NewMeterProvider(metric.WithReader(reader))
	shop, err := open(ctx, "shop", "", meters)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shop.close(ctx)) }()
	if err := shop.telemetry.WatchListener("payments", shop.listener); err != nil {
		return err
	}
	analytics, err := open(ctx, "analytics", "ANALYTICS", meters)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, analytics.close(ctx)) }()
	both, err := pghealth.Join(shop.probe, analytics.probe)
	if err != nil {
		return err
	}
	checker := health.NewChecker(health.WithChecks(both.Checks()...),
		health.WithPeriodicCheck(5*time.Second, 0, lateReports(shop.pool)))
	defer checker.Stop()
	stopReports, err := reportPayments(ctx, shop.pool, analytics.pool, shop.listener)
	if err != nil {
		return err
	}
	defer stopReports()

	mux := routes(shop.pool, analytics.pool)
	mux.Handle("GET /livez", both.Live())
	mux.Handle("GET /startupz", both.Startup())
	mux.Handle("GET /readyz", health.NewHandler(checker, health.WithResultWriter(both.ResultWriter())))
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	slog.InfoContext(ctx, "serving", "address", address)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}

	both.Drain() // /readyz answers 503, and the load balancer sends no more requests
	select {
	case err := <-failed:
		return err
	case <-time.After(drain):
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit)
	defer cancel()
	return server.Shutdown(ending)
}

// database is a pool with its metrics, its listener and its probe.
type database struct {
	telemetry *pgotel.Telemetry
	pool      *pgxpool.Pool
	listener  *listen.Listener
	probe     *pghealth.Probe
}

// open connects to the database in the variables with the prefix. It waits for a server that is
// still starting.
func open(ctx context.Context, name, prefix string, meters *metric.MeterProvider) (d database, err error) {
	cfg, err := pgconfig.LoadFrom(pgconfig.Source{
		Prefix: prefix, Environ: pgconfig.Environ(), DotEnv: []string{".env"},
	})
	if err != nil {
		return d, err
	}
	if d.listener, err = listen.New(cfg); err != nil {
		return d, err
	}
	if d.telemetry, err = pgotel.New(pgotel.Options{Pool: name, MeterProvider: meters}); err != nil {
		return d, err
	}
	d.pool, err = pgpool.Connect(ctx, cfg, pgpool.WithMetrics(d.telemetry), pgpool.WithTracer(d.telemetry.Tracer()))
	if err != nil {
		return d, errors.Join(err, d.telemetry.Close())
	}
	opts := pghealth.Options{Name: name}
	if prefix == "" { // only the shop's own database is listened to
		opts.Listener = d.listener
	}
	if d.probe, err = pghealth.New(d.pool, opts); err != nil {
		return d, errors.Join(err, pgpool.Shutdown(ctx, d.pool), d.telemetry.Close())
	}
	return d, nil
}

func (d database) close(ctx context.Context) error {
	d.probe.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit)
	defer cancel()
	return errors.Join(pgpool.Shutdown(ctx, d.pool), d.telemetry.Close())
}

// lateReports fails while a payment has waited for its report for more than five minutes.
func lateReports(pool *pgxpool.Pool) health.Check {
	return health.Check{Name: "reports", Timeout: time.Second, Check: func(ctx context.Context) error {
		late, err := db.New(pool).LateReports(ctx)
		if err == nil && late > 0 {
			err = fmt.Errorf("%d payments wait for their report", late)
		}
		return err
	}}
}
