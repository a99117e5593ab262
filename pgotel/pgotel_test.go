package pgotel_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgotel"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/replica"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtx"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgconn/internal/bgreader.(*BGReader).bgRead"))
}

// scene is a pool of two connections that is reported.
type scene struct {
	telemetry *pgotel.Telemetry
	pool      *pgxpool.Pool
	reader    *sdkmetric.ManualReader
	spans     *tracetest.SpanRecorder
	traces    *trace.TracerProvider
}

func newScene(t testing.TB) *scene {
	t.Helper()
	s := &scene{reader: sdkmetric.NewManualReader(), spans: tracetest.NewSpanRecorder()}
	s.traces = trace.NewTracerProvider(trace.WithSpanProcessor(s.spans))
	var err error
	s.telemetry, err = pgotel.New(pgotel.Options{
		MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(s.reader)), TracerProvider: s.traces,
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := pgconfig.Parse(pgserver.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns, cfg.MinIdleConns, cfg.AcquireTimeout = 2, 1, time.Minute
	s.pool, err = pgpool.Connect(t.Context(), cfg, pgpool.WithLogger(nil),
		pgpool.WithMetrics(s.telemetry), pgpool.WithTracer(s.telemetry.Tracer()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.pool.Close()
		if err := s.telemetry.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// collect returns the values of counters and gauges, and the counts of histograms.
func (s *scene) collect(t *testing.T) map[string]string {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := s.reader.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			add := func(attributes attribute.Set, value any) {
				name := m.Name
				for _, key := range []attribute.Key{
					"db.client.connection.state", "postgresql.listener.name", "postgresql.replica.number",
				} {
					if v, ok := attributes.Value(key); ok {
						name += " " + v.Emit()
					}
				}
				if v, _ := attributes.Value("db.client.connection.pool.name"); v.AsString() != "main" &&
					m.Name != "db.client.operation.duration" {
					t.Errorf("%s is of the pool %q", m.Name, v.AsString())
				}
				got[name] = fmt.Sprint(value)
			}
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, p.Value)
				}
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, p.Value)
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, p.Value)
				}
			case metricdata.Histogram[float64]:
				add(data.DataPoints[0].Attributes, data.DataPoints[0].Count)
			}
		}
	}
	return got
}

func wants(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %q, want %s; all: %v", name, got[name], value, slices.Sorted(maps.Keys(got)))
		}
	}
}

// TestPool takes both connections and asks for a third, so that each figure moves.
func TestPool(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	ctx, request := s.traces.Tracer("test").Start(t.Context(), "GET /")
	held, err := s.pool.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.pool.AcquireFunc(ctx, func(*pgxpool.Conn) error {
		limited, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		_, err := s.pool.Exec(limited, `select 'none left'`)
		return err
	}); err == nil {
		t.Fatal("a third connection of two")
	}
	if _, err := s.pool.Exec(ctx, `select $1::text`, "secret argument"); err != nil {
		t.Fatal(err)
	}
	request.End()
	got := s.collect(t)
	held.Release()
	wants(t, got, map[string]string{
		"db.client.connection.count used": "1", "db.client.connection.count idle": "1",
		"db.client.connection.max": "2", "db.client.connection.idle.max": "2", "db.client.connection.idle.min": "1",
		"db.client.connection.pending_requests": "0", "db.client.connection.timeouts": "1",
		"db.client.connection.wait_time": "3", "db.client.connection.use_time": "2",
		"db.client.connection.create_time": "2",
	})
	if got["db.client.operation.duration"] == "" {
		t.Error("no db.client.operation.duration")
	}
	var texts []string
	for _, span := range s.spans.Ended() {
		for _, a := range span.Attributes() {
			texts = append(texts, a.Value.Emit())
		}
	}
	if !slices.Contains(texts, "select $1::text") || slices.Contains(texts, "secret argument") {
		t.Errorf("the spans' attributes are %q, want the query's text without its arguments", texts)
	}
	if err := s.telemetry.Close(); err != nil {
		t.Error(err)
	}
	if _, ok := s.collect(t)["db.client.connection.max"]; ok {
		t.Error("the gauges are read after Close")
	}
	if err := s.telemetry.WatchDatabase(s.pool); err == nil {
		t.Error("a gauge was added after Close")
	}
}

// TestTransaction repeats a transaction once, and looks at the spans of both attempts.
func TestTransaction(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	opts := pgtx.Options{Name: "publish", Observe: s.telemetry.Observe}
	fail := func(code string) func(context.Context, pgx.Tx) error {
		return func(ctx context.Context, tx pgx.Tx) error {
			if code == "40001" && pgtx.Attempt(ctx) > 1 {
				code = ""
			}
			if code == "" {
				_, err := tx.Exec(ctx, "select 1")
				return err
			}
			_, err := tx.Exec(ctx, "do $$ begin raise exception 'row secret' using errcode = '"+code+"'; end $$")
			return err
		}
	}
	if err := pgtx.RunWith(t.Context(), s.pool, opts, fail("")); err != nil {
		t.Fatal(err)
	}
	if spans := s.spans.Ended(); len(spans) > 0 {
		t.Errorf("%d spans outside of a trace", len(spans))
	}
	ctx, request := s.traces.Tracer("test").Start(t.Context(), "POST /")
	if err := pgtx.RunWith(ctx, s.pool, opts, fail("40001")); err != nil {
		t.Fatal(err)
	}
	if err := pgtx.RunWith(ctx, s.pool, opts, fail("23514")); err == nil {
		t.Fatal("no error")
	}
	request.End()

	var got []string
	for _, span := range s.spans.Ended() {
		if span.Name() != "transaction publish" {
			continue
		}
		if span.Parent().SpanID() != request.SpanContext().SpanID() || !span.EndTime().After(span.StartTime()) {
			t.Errorf("span of %v, from %v to %v", span.Parent(), span.StartTime(), span.EndTime())
		}
		of := map[string]string{}
		for _, a := range span.Attributes() {
			of[string(a.Key)] = a.Value.Emit()
		}
		if span.Status().Code == codes.Error && span.Status().Description != of["postgresql.error.category"] {
			t.Errorf("status %v", span.Status())
		}
		got = append(got, strings.Join([]string{
			of["postgresql.transaction.attempt"], of["postgresql.transaction.outcome"],
			of["postgresql.transaction.again"], of["postgresql.error.category"], of["db.response.status_code"],
		}, " "))
		if text := fmt.Sprint(span.Attributes(), span.Events(), span.Status()); strings.Contains(text, "row secret") {
			t.Errorf("the span holds the error's text: %s", text)
		}
	}
	want := []string{
		"1 rolled_back true serialization 40001", "2 committed false  ", "1 rolled_back false constraint 23514",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

type listener struct{ err error }

func (l *listener) Alive() (time.Time, error) { return time.Time{}, l.err }

type cluster []replica.Status

func (c cluster) Replicas() []replica.Status { return c }

func TestGauges(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := &listener{}
	err := errors.Join(
		s.telemetry.WatchListener("pages", l), s.telemetry.WatchListener("jobs", &listener{errors.New("down")}),
		s.telemetry.WatchReplicas(cluster{
			{Replica: 0, Host: "a", Port: 5432, Lag: 1500 * time.Millisecond},
			{Replica: 1, Host: "b", Port: 5432, Lag: -1, Err: errors.New("unknown")},
		}),
		s.telemetry.WatchDatabase(s.pool))
	if err != nil {
		t.Fatal(err)
	}
	idle, err := s.pool.Begin(t.Context()) // since before the sleep of the server below
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.pool.Exec(t.Context(), "select pg_sleep(0.1)"); err != nil {
		t.Fatal(err)
	}
	got := s.collect(t)
	wants(t, got, map[string]string{
		"postgresql.listener.up pages": "1", "postgresql.listener.up jobs": "0", "postgresql.replica.up 0": "1",
		"postgresql.replica.up 1": "0", "postgresql.replica.lag 0": "1.5", "postgresql.replica.lag 1": "",
	})
	for _, name := range []string{"postgresql.transaction.age.max", "postgresql.transaction.idle.max"} {
		var value float64
		if _, err := fmt.Sscan(got[name], &value); err != nil || value < 0.1 || value > 60 {
			t.Errorf("%s is %q", name, got[name])
		}
	}
	var count, most int
	if _, err := fmt.Sscan(got["postgresql.connection.count"]+" "+got["postgresql.connection.max"], &count, &most); err !=
		nil || count < 2 || most < count {
		t.Errorf("%d of %d connections: %v", count, most, err)
	}

	l.err = errors.New("down")
	other, err := s.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got = s.collect(t) // both connections are in use
	wants(t, got, map[string]string{
		"postgresql.listener.up pages": "0", "postgresql.connection.count": "", "db.client.connection.timeouts": "",
	})
	other.Release()
	if err := idle.Rollback(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestOutage collects nothing of the database, and no error, when the pool is closed.
func TestOutage(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	if err := s.telemetry.WatchDatabase(s.pool); err != nil {
		t.Fatal(err)
	}
	s.pool.Close()
	wants(t, s.collect(t), map[string]string{"postgresql.connection.count": "", "db.client.connection.max": "2"})
}

// TestSeveralPools has one telemetry for a primary and its replicas, as replica.Open does with its
// options: the figures are their sums.
func TestSeveralPools(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.telemetry.Gauges(func() pgpool.Gauges { return pgpool.Gauges{Used: 3, Idle: 1, Max: 5} })
	wants(t, s.collect(t), map[string]string{"db.client.connection.max": "7", "db.client.connection.count used": "3"})
}
