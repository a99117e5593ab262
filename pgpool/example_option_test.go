package pgpool_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgpool"
)

// Queries that take longer than a second are logged with their SQL and without their arguments.
// Here the limit is so low that every query is slow.
func ExampleWithSlowQuery() {
	cfg, end := configured()
	defer end()
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: steady}))
	pool, err := pgpool.Connect(context.Background(), cfg, pgpool.WithSlowQuery(time.Nanosecond),
		pgpool.WithLogger(logger))
	if err != nil {
		log.Print(err)
		return
	}
	defer pgpool.Shutdown(context.Background(), pool)
	_, err = pool.Exec(context.Background(), `select length($1)`, "a visitor's search")
	fmt.Println(err)
	// Output:
	// level=WARN msg="slow query" sql="select length($1)"
	// <nil>
}

// steady leaves out what differs from run to run.
func steady(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey || a.Value.Kind() == slog.KindDuration {
		return slog.Attr{}
	}
	return a
}

// A cloud's token is the password of the next connection. Open connections stay logged in.
func ExampleWithPassword() {
	cfg, end := configured()
	defer end()
	token := func(context.Context) (string, error) { // asks the cloud, and caches what is valid
		return "a token for a quarter of an hour", nil
	}
	pool, err := pgpool.Connect(context.Background(), cfg, pgpool.WithPassword(token))
	if err != nil {
		log.Print(err)
		return
	}
	defer pgpool.Shutdown(context.Background(), pool)
	fmt.Println(pool.Ping(context.Background()))
	// Output: <nil>
}

// Any pgx tracer works, such as otelpgx's. Several are called in turn.
func ExampleWithTracer() {
	cfg, end := configured()
	defer end()
	pool, err := pgpool.Connect(context.Background(), cfg, pgpool.WithTracer(spans{}))
	if err != nil {
		log.Print(err)
		return
	}
	defer pgpool.Shutdown(context.Background(), pool)
	_, err = pool.Exec(context.Background(), `select 'Home'`)
	fmt.Println(err)
	// Output:
	// span: select 'Home'
	// <nil>
}

type spans struct{}

func (spans) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if data.SQL == `select 'Home'` { // and not what Connect asks
		fmt.Println("span:", data.SQL)
	}
	return ctx
}

func (spans) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// The figures have OpenTelemetry's names; a library that keeps them is the implementation's choice.
func ExampleWithMetrics() {
	cfg, end := configured()
	defer end()
	figures := &figures{}
	pool, err := pgpool.Connect(context.Background(), cfg, pgpool.WithMetrics(figures))
	if err != nil {
		log.Print(err)
		return
	}
	defer pgpool.Shutdown(context.Background(), pool)
	conn, err := pool.Acquire(context.Background())
	if err != nil {
		log.Print(err)
		return
	}
	defer conn.Release()
	now := figures.read()
	fmt.Println(now.Used, "of", now.Max, "connections used")
	// Output: 1 of 4 connections used
}

type figures struct{ read func() pgpool.Gauges }

func (f *figures) Gauges(read func() pgpool.Gauges) { f.read = read }
func (*figures) WaitTime(time.Duration)             {} // into a histogram
func (*figures) UseTime(time.Duration)              {}
func (*figures) CreateTime(time.Duration)           {}
func (*figures) Timeout()                           {} // counts
