package pgotel_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgotel"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtx"
)

// TestNoValues has values in literals, arguments and errors. No span and no metric may hold one.
func TestNoValues(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	ctx, request := s.traces.Tracer("test").Start(t.Context(), "GET /")
	refused := map[string]func() error{
		"a literal": func() error { _, err := s.pool.Exec(ctx, `select 's3cret'::int`); return err },
		"an argument": func() error {
			_, err := s.pool.Exec(ctx, `select $1::text::int`, "s3cret")
			return err
		},
		"the simple protocol": func() error {
			_, err := s.pool.Exec(ctx, `select $1::int`, pgx.QueryExecModeSimpleProtocol, "s3cret")
			return err
		},
		"a block": func() error { _, err := s.pool.Exec(ctx, `do $x$ begin raise 's3cret'; end $x$`); return err },
		"syntax":  func() error { _, err := s.pool.Exec(ctx, `selct 's3cret'`); return err },
		"named arguments": func() error {
			_, err := s.pool.Exec(ctx, `select @v::text::int`, pgx.NamedArgs{"v": "s3cret"})
			return err
		},
		"tags": func() error {
			_, err := pgotel.Tag(s.pool, pgotel.Tags{Action: "a"}).Exec(ctx, `select 's3cret'::int`)
			return err
		},
		"a batch": func() error {
			batch := &pgx.Batch{}
			batch.Queue(`select 1`)
			batch.Queue(`select 's3cret'::int`)
			batch.Queue(`select $1::text::int`, "s3cret")
			return s.pool.SendBatch(ctx, batch).Close()
		},
		"a copy": func() error {
			_, err := s.pool.CopyFrom(ctx, pgx.Identifier{"numbers"}, []string{"n"},
				pgx.CopyFromRows([][]any{{"s3cret"}}))
			return err
		},
		"prepare": func() error {
			return s.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
				_, err := conn.Conn().Prepare(ctx, "p", `select 's3cret'::int`)
				return err
			})
		},
		"a transaction": func() error {
			return pgtx.Run(ctx, s.pool, func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `select 's3cret'::int`)
				return err
			})
		},
		"a login": func() error {
			config := s.pool.Config().ConnConfig.Copy()
			config.Password, config.Database = "s3cret", "not there"
			_, err := pgx.ConnectConfig(ctx, config)
			return err
		},
		"a caller that gave up": func() error {
			ctx, cancel := context.WithCancelCause(ctx)
			cancel(errors.New("s3cret"))
			_, err := s.pool.Exec(ctx, "select 1")
			return err
		},
	}
	if _, err := s.pool.Exec(ctx, "create table numbers (n int)"); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(refused)) {
		before := len(s.spans.Ended())
		if refused[name]() == nil {
			t.Errorf("%s: no error", name)
		}
		failed := false
		for _, span := range s.spans.Ended()[before:] {
			text := fmt.Sprint(span.Name(), span.Attributes(), span.Events(), span.Status())
			if strings.Contains(text, "s3cret") {
				t.Errorf("%s: %s", name, text)
			}
			if span.Status().Code == codes.Error && span.Name() != "SELECT" || slices.ContainsFunc(span.Attributes(),
				func(a attribute.KeyValue) bool { return a.Key == "error.type" && a.Value.AsString() != "" }) {
				failed = true
			}
		}
		if !failed && name != "a caller that gave up" { // it had no connection
			t.Errorf("%s: no span has the failure", name)
		}
	}
	request.End()
	if got := fmt.Sprint(durations(t, s.reader)); strings.Contains(got, "s3cret") {
		t.Error(got)
	}
}

// durations returns how often db.client.operation.duration was recorded, by attributes.
func durations(t *testing.T, reader *sdkmetric.ManualReader) map[string]uint64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name == "db.client.operation.errors" {
				t.Error("otelpgx's own metrics are there")
			}
			if m.Name != "db.client.operation.duration" {
				continue
			}
			for _, p := range m.Data.(metricdata.Histogram[float64]).DataPoints {
				var name []string
				for _, key := range []attribute.Key{
					"db.client.connection.pool.name", "db.operation.name", "error.type", "db.response.status_code",
					"postgresql.error.category",
				} {
					if v, ok := p.Attributes.Value(key); ok {
						name = append(name, v.Emit())
					}
				}
				for _, key := range []attribute.Key{"db.system.name", "db.namespace"} {
					if v, _ := p.Attributes.Value(key); v.AsString() == "" {
						t.Errorf("no %s in %v", key, p.Attributes)
					}
				}
				got[strings.Join(name, " ")] += p.Count
			}
		}
	}
	return got
}

// TestDurations counts the operations of two pools, with the class of each failure. It does so
// outside of a trace.
func TestDurations(t *testing.T) {
	t.Parallel()
	reader := sdkmetric.NewManualReader()
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	database := pgserver.Database(t)
	for _, name := range []string{"main", "other"} {
		telemetry, err := pgotel.New(pgotel.Options{Pool: name, MeterProvider: meters})
		if err != nil {
			t.Fatal(err)
		}
		defer telemetry.Close()
		cfg, err := pgconfig.Parse(database)
		if err != nil {
			t.Fatal(err)
		}
		pool, err := pgpool.Connect(t.Context(), cfg, pgpool.WithLogger(nil), pgpool.WithTracer(telemetry.Tracer()))
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		if name == "other" {
			hijacked, err := pool.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			conn := hijacked.Hijack()
			_, err = conn.Exec(t.Context(), "select 1")
			if err := errors.Join(err, conn.Close(t.Context())); err != nil {
				t.Error(err)
			}
			continue
		}
		var one int
		for range 2 {
			if err := pool.QueryRow(t.Context(), "select 1").Scan(&one); err != nil {
				t.Error(err)
			}
		}
		if err := pool.QueryRow(t.Context(), "select 1 where false").Scan(&one); !errors.Is(err, pgx.ErrNoRows) {
			t.Error(err)
		}
		if err := pool.QueryRow(t.Context(), "select 1/0").Scan(&one); err == nil {
			t.Error("no error")
		}
		err = pool.AcquireFunc(t.Context(), func(conn *pgxpool.Conn) error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := conn.Exec(ctx, "select 1")
			return err
		})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		batch := &pgx.Batch{}
		batch.Queue("select 1")
		batch.Queue("select 2")
		if err := pool.SendBatch(t.Context(), batch).Close(); err != nil {
			t.Error(err)
		}
		if _, err := pool.Exec(t.Context(), "create table n (n int)"); err != nil {
			t.Error(err)
		}
		rows := pgx.CopyFromRows([][]any{{1}})
		if _, err := pool.CopyFrom(t.Context(), pgx.Identifier{"n"}, []string{"n"}, rows); err != nil {
			t.Error(err)
		}
	}
	got := durations(t, reader)
	want := map[string]uint64{
		"main": 4, "main BATCH": 1, "main COPY": 1, "main 22012 22012 data": 1, "main canceled canceled": 1, "other": 1,
	}
	for name, n := range want {
		if got[name] < n || name != "main" && name != "other" && got[name] != n { // a pool's own queries count, too
			t.Errorf("%q was recorded %d times, want %d; all: %v", name, got[name], n, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if err := meters.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestTextsOfQueries looks at what a span says of a statement without arguments.
func TestTextsOfQueries(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	for text, want := range map[string]string{
		`select 'a', 1`:                       `select ?, ?`,
		`select 'it''s', ''`:                  `select ??, ?`,
		`select E'a\'b\\', e'x' "it's"`:       `select ?, ? "it's"`,
		`select name'`:                        `select name?`,
		`select $$a'b$$, $a1$ $$ $a1$, a$1$b`: `select ?, ?, a$1$b`,
		`select -1.5e10, .5, 0x1F, 1_000, a1`: `select -?, ?, ?, ?, a1`,
		`select 1 -- it's 2` + "\n, 3":        `select ? -- it's 2` + "\n, ?",
		`select /* it's /* 1 */ 2 */ 3 /* 4`:  `select /* it's /* 1 */ 2 */ ? /* 4`,
		`select "a""b'c", 'd'`:                `select "a""b'c", ?`,
		`select N'é', U&'x', "é1" as é2`:      `select N?, U&?, "é1" as é2`,
		`select $`:                            `select $`,
		`select $$never ended`:                `select ?`,
		``:                                    ``,
	} {
		ctx, request := s.traces.Tracer("test").Start(t.Context(), "GET /")
		_, _ = s.pool.Exec(ctx, text) // most are no SQL
		request.End()
		found := false
		for _, span := range s.spans.Ended() {
			if span.Parent().SpanID() != request.SpanContext().SpanID() {
				continue
			}
			for _, a := range span.Attributes() {
				if a.Key == "db.query.text" {
					if found = true; a.Value.AsString() != want {
						t.Errorf("%s became %s, want %s", text, a.Value.AsString(), want)
					}
				}
			}
		}
		if !found {
			t.Errorf("%s: no span", text)
		}
	}
}

// TestTogether uses a telemetry from many goroutines while it is collected, and closes it
// meanwhile.
func TestTogether(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	if err := s.telemetry.WatchDatabase(s.pool); err != nil {
		t.Fatal(err)
	}
	var together sync.WaitGroup
	for range 4 {
		together.Go(func() {
			for range 20 {
				ctx, request := s.traces.Tracer("test").Start(t.Context(), "GET /")
				err := pgtx.RunWith(ctx, s.pool, pgtx.Options{Observe: s.telemetry.Observe},
					func(ctx context.Context, tx pgx.Tx) error {
						_, err := pgotel.Tag(tx, pgotel.Tags{Application: "a", TraceParent: true}).Exec(ctx, "select 1")
						return err
					})
				request.End()
				if err != nil {
					t.Error(err)
				}
			}
		})
		together.Go(func() {
			for range 20 {
				s.collect(t)
			}
		})
	}
	together.Go(func() {
		if err := s.telemetry.Close(); err != nil {
			t.Error(err)
		}
	})
	together.Wait()
}

// BenchmarkTracer takes turns between a connection without a tracer, one with otelpgx's, and one
// with ours, outside of a trace and inside. It reports the medians against that without.
func BenchmarkTracer(b *testing.B) {
	s := newScene(b)
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	traces := trace.NewTracerProvider()
	telemetry, err := pgotel.New(pgotel.Options{MeterProvider: meters, TracerProvider: traces})
	if err != nil {
		b.Fatal(err)
	}
	defer telemetry.Close()
	var conns []*pgx.Conn
	for _, tracer := range []pgx.QueryTracer{
		nil, otelpgx.NewTracer(otelpgx.WithMeterProvider(meters), otelpgx.WithTracerProvider(traces)),
		telemetry.Tracer(),
	} {
		config := s.pool.Config().ConnConfig.Copy()
		config.Tracer = tracer
		conn, err := pgx.ConnectConfig(b.Context(), config)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close(context.Background())
		conns = append(conns, conn)
	}
	recorded, request := traces.Tracer("test").Start(b.Context(), "GET /")
	defer request.End()
	took := [2][3][]time.Duration{}
	for b.Loop() {
		for i, ctx := range []context.Context{b.Context(), recorded} {
			for j, conn := range conns {
				began, one := time.Now(), 0
				if err := conn.QueryRow(ctx, "select $1::int", 1).Scan(&one); err != nil {
					b.Fatal(err)
				}
				took[i][j] = append(took[i][j], time.Since(began))
			}
		}
	}
	for i, where := range []string{"untraced", "traced"} {
		for j := range took[i] {
			slices.Sort(took[i][j])
		}
		median := func(j int) float64 { return float64(took[i][j][len(took[i][j])/2]) }
		b.ReportMetric(median(1)/median(0), where+"-otelpgx/none")
		b.ReportMetric(median(2)/median(0), where+"-ours/none")
	}
}
