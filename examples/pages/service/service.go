// Package service runs a service of the example: its pool, its probes, its figures and its log, and
// an end that loses no request. What a service does itself is its [App].
package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/page-builder/persistence/examples/pages/probes"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgotel"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/replica"
)

const (
	// DefaultDrain is the time between the first "not ready" and the end of serving. A load
	// balancer that asks every second needs that long to notice.
	DefaultDrain = 2 * time.Second

	// endLimit limits the requests in progress once no new ones are accepted, and then the release
	// of the pool.
	endLimit = 10 * time.Second

	// parallel limits the requests in progress. It is more than the pool has connections, because
	// most requests wait for the client or find their answer in memory.
	parallel = 256
)

// Options says how a service runs.
type Options struct {
	Name     string // in the log and the metrics
	Address  string // "127.0.0.1:8080"; port 0 takes a free one
	Database pgconfig.Config

	Logger   *slog.Logger         // default: slog.Default()
	Internal string               // where operators see /debug/health; must not be public; "": nowhere
	Drain    time.Duration        // default: DefaultDrain; negative: none
	Started  func(address string) // called once, when the service answers
	Debug    func(address string) // called before that, when the internal address answers
	Listener pghealth.Listener    // nil: none
}

// App holds a service's handler and its background work.
type App struct {
	Handler    http.Handler
	Background func(ctx context.Context) error // runs until ctx ends, then ends its streams; may be nil
}

// Run connects, builds the app and serves it until ctx ends. Then /readyz answers 503 for a while.
// After that Run accepts no new connections, finishes open requests, and closes the pool. It
// returns nil if all of it worked.
func Run(ctx context.Context, opts Options, build func(*replica.Cluster) (App, error)) (err error) {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Drain == 0 {
		opts.Drain = DefaultDrain
	}
	log := opts.Logger.With("service", opts.Name)

	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector())
	telemetry, err := newTelemetry(opts, registry)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, telemetry.Close()) }()
	cluster, err := replica.Open(ctx, opts.Database, pgpool.WithLogger(log), pgpool.WithMetrics(telemetry),
		pgpool.WithTracer(telemetry.Tracer()))
	if err != nil {
		return err
	}
	defer func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit)
		defer cancel()
		err = errors.Join(err, cluster.Shutdown(ending))
	}()
	if err := telemetry.WatchReplicas(cluster); err != nil {
		return err
	}
	probe, err := newProbe(cluster.Primary(), opts, log)
	if err != nil {
		return err
	}
	defer probe.Close()

	app, err := build(cluster)
	if err != nil {
		return err
	}
	requests := newRequests(opts.Name, log)
	registry.MustRegister(requests)
	router := probes.Mount(probe, requests.observe(app.Handler), parallel)
	router.Method(http.MethodGet, "/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", opts.Address)
	if err != nil {
		return fmt.Errorf("%s: %w", opts.Name, err)
	}
	if opts.Internal != "" {
		end, err := serveInternal(ctx, opts, log, probe)
		if err != nil {
			return errors.Join(err, listener.Close())
		}
		defer end()
	}
	return serve(ctx, opts, log, listener, router, app.Background, probe.Drain)
}

// serveInternal serves the health page for operators until end is called. It has no access control.
func serveInternal(ctx context.Context, opts Options, log *slog.Logger, probe *pghealth.Probe) (end func(), err error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", opts.Internal)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", opts.Name, err)
	}
	mux := http.NewServeMux()
	mux.Handle("/debug/health", probe.Details())
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // until it is closed
	}()
	log.InfoContext(ctx, "for operators", "address", listener.Addr().String())
	if opts.Debug != nil {
		opts.Debug(listener.Addr().String())
	}
	return func() { _ = server.Close(); <-done }, nil
}

// newTelemetry reports the pools and the listener at /metrics, and queries to the collector of
// spans.
func newTelemetry(opts Options, registry *prometheus.Registry) (*pgotel.Telemetry, error) {
	reader, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo(),
		otelprometheus.WithoutTargetInfo())
	if err != nil {
		return nil, err
	}
	telemetry, err := pgotel.New(pgotel.Options{
		Pool: opts.Name, MeterProvider: metric.NewMeterProvider(metric.WithReader(reader)),
	})
	if err != nil || opts.Listener == nil {
		return telemetry, err
	}
	return telemetry, telemetry.WatchListener(opts.Name, opts.Listener)
}

func newProbe(pool *pgxpool.Pool, opts Options, log *slog.Logger) (*pghealth.Probe, error) {
	return pghealth.New(pool, pghealth.Options{Logger: log, Schema: schema, Listener: opts.Listener})
}

// serve answers on listener until ctx ends or something fails.
func serve(
	ctx context.Context, opts Options, log *slog.Logger, listener net.Listener, handler http.Handler,
	background func(context.Context) error, drain func(),
) error {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(),
			slog.LevelWarn),
	}
	failed := make(chan error, 2)
	go func() { failed <- server.Serve(listener) }()

	working, stopWorking := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if background == nil {
			return
		}
		if err := background(working); working.Err() == nil {
			failed <- fmt.Errorf("%s: background work ended: %w", opts.Name, err)
		}
	}()
	defer func() { stopWorking(); <-done }()

	log.InfoContext(ctx, "serving", "address", listener.Addr().String())
	if opts.Started != nil {
		opts.Started(listener.Addr().String())
	}
	select {
	case err := <-failed:
		return errors.Join(err, server.Close())
	case <-ctx.Done():
	}

	log.InfoContext(ctx, "draining", "for", opts.Drain)
	drain()
	select {
	case err := <-failed:
		return errors.Join(err, server.Close())
	case <-time.After(opts.Drain):
	}
	// The streams that the background work feeds end with it. Nothing is lost: their clients
	// connect again, elsewhere.
	stopWorking()
	<-done
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit)
	defer cancel()
	if err := server.Shutdown(ending); err != nil {
		return fmt.Errorf("%s: requests were cut after %s: %w", opts.Name, endLimit, errors.Join(err, server.Close()))
	}
	log.InfoContext(ctx, "ended")
	return nil
}
