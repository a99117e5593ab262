package observability_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/page-builder/persistence/examples/pages/observability"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

func connect(t *testing.T, opts ...pgpool.Option) *pgxpool.Pool {
	t.Helper()
	cfg, err := pgconfig.Parse(pgserver.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns, cfg.MinIdleConns, cfg.AcquireTimeout = 2, 1, 500*time.Millisecond
	pool, err := pgpool.Connect(t.Context(), cfg, append(opts, pgpool.WithLogger(nil))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// work makes each of the figures move: it takes both connections, and asks for a third.
func work(ctx context.Context, t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	held, err := pool.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(held.Release)
	if err := pool.AcquireFunc(ctx, func(*pgxpool.Conn) error {
		_, err := pool.Exec(ctx, `select 'none left'`)
		return err
	}); err == nil {
		t.Fatal("a third connection of two")
	}
	if _, err := pool.Exec(ctx, `select $1::int`, 7); err != nil {
		t.Fatal(err)
	}
}

func TestOpenTelemetry(t *testing.T) {
	t.Parallel()
	reader, spans := sdkmetric.NewManualReader(), tracetest.NewSpanRecorder()
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	metrics, err := observability.NewOpenTelemetry(meters.Meter("pages"), "main")
	if err != nil {
		t.Fatal(err)
	}
	provider := trace.NewTracerProvider(trace.WithSpanProcessor(spans))
	pool := connect(t, pgpool.WithMetrics(metrics),
		pgpool.WithTracer(otelpgx.NewTracer(otelpgx.WithTracerProvider(provider))))
	ctx, request := provider.Tracer("pages").Start(t.Context(), "GET /") // otelpgx adds to a span, and begins none
	work(ctx, t, pool)
	request.End()

	got := collect(t, reader)
	for name, want := range map[string]string{
		"count used": "1", "count idle": "1", "max": "2", "idle.max": "2", "idle.min": "1", "pending_requests": "0",
		"timeouts": "1", "wait_time": "3", "use_time": "2", "create_time": "2",
	} {
		if got["db.client.connection."+name] != want {
			t.Errorf("db.client.connection.%s is %q, want %s; all: %v", name, got["db.client.connection."+name], want,
				slices.Sorted(maps.Keys(got)))
		}
	}
	var texts []string
	for _, span := range spans.Ended() {
		for _, a := range span.Attributes() {
			texts = append(texts, a.Value.Emit())
		}
	}
	if !slices.Contains(texts, "select $1::int") {
		t.Errorf("the spans' attributes are %q, want the query's text", texts)
	}
	if err := metrics.Close(); err != nil {
		t.Error(err)
	}
	if _, ok := collect(t, reader)["db.client.connection.max"]; ok {
		t.Error("the gauges are read after Close")
	}
}

// collect returns the values of counters and gauges and the counts of histograms.
func collect(t *testing.T, reader *sdkmetric.ManualReader) map[string]string {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, point := range data.DataPoints {
					name := m.Name
					if state, ok := point.Attributes.Value("db.client.connection.state"); ok {
						name += " " + state.AsString()
					}
					got[name] = fmt.Sprint(point.Value)
				}
			case metricdata.Histogram[float64]:
				got[m.Name] = fmt.Sprint(data.DataPoints[0].Count)
			}
		}
	}
	return got
}

func TestPrometheus(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	metrics := observability.NewPrometheus("main")
	if err := registry.Register(metrics); err != nil {
		t.Fatal(err)
	}
	work(t.Context(), t, connect(t, pgpool.WithMetrics(metrics)))

	answer := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(answer,
		httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`db_client_connection_count{pool="main",state="used"} 1`,
		`db_client_connection_count{pool="main",state="idle"} 1`,
		`db_client_connection_max{pool="main"} 2`, `db_client_connection_idle_max{pool="main"} 2`,
		`db_client_connection_idle_min{pool="main"} 1`,
		`db_client_connection_pending_requests{pool="main"} 0`, `db_client_connection_timeouts_total{pool="main"} 1`,
		`db_client_connection_wait_time_seconds_count{pool="main"} 3`,
		`db_client_connection_use_time_seconds_count{pool="main"} 2`,
		`db_client_connection_create_time_seconds_count{pool="main"} 2`,
	} {
		if !strings.Contains(answer.Body.String(), want+"\n") {
			t.Errorf("%s is not in the answer:\n%s", want, answer.Body)
		}
	}
}
