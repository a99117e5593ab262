package observability_test

import (
	"context"
	"net/http"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"

	"github.com/page-builder/persistence/examples/pages/observability"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
)

// Spans and metrics through the providers that the service has set up.
func ExampleNewOpenTelemetry() {
	open := func(ctx context.Context, cfg pgconfig.Config) (*pgxpool.Pool, error) {
		metrics, err := observability.NewOpenTelemetry(otel.Meter("example.com/pages"), "main")
		if err != nil {
			return nil, err
		}
		return pgpool.Connect(ctx, cfg, pgpool.WithTracer(otelpgx.NewTracer()), pgpool.WithMetrics(metrics))
	}
	_ = open
}

// Figures at /metrics.
func ExampleNewPrometheus() {
	open := func(ctx context.Context, cfg pgconfig.Config, mux *http.ServeMux) (*pgxpool.Pool, error) {
		metrics := observability.NewPrometheus("main")
		if err := prometheus.Register(metrics); err != nil {
			return nil, err
		}
		mux.Handle("GET /metrics", promhttp.Handler())
		return pgpool.Connect(ctx, cfg, pgpool.WithMetrics(metrics))
	}
	_ = open
}
