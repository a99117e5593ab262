package pghealth_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/alexliesenfeld/health"
	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pghealth"
)

// patient is a limit that suits a busy machine. A service uses the default, 0.8 s.
const patient = 30 * time.Second

func ExampleNew() {
	pool, end := openPool()
	defer end()
	probe, err := pghealth.New(pool, pghealth.Options{Timeout: patient})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer probe.Close()

	ask(probe.Startup()) // until all checks have passed once: 503
	ask(probe.Ready())
	probe.Drain() // shutdown begins: the load balancer should stop sending requests
	ask(probe.Ready())
	ask(probe.Live())
	// Output:
	// 200 pass
	// 200 pass
	// 503 fail
	// 200 pass
}

// A full pool is a warning. The probe has its own connection, so the service keeps its traffic.
func ExampleProbe_Ready() {
	pool, end := openPool()
	defer end()
	probe, err := pghealth.New(pool, pghealth.Options{Timeout: patient})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer probe.Close()

	for range pool.Config().MaxConns {
		tx, err := pool.Begin(context.Background())
		if err != nil {
			fmt.Println(err)
			return
		}
		defer tx.Rollback(context.Background())
	}
	ask(probe.Ready())
	// Output: 200 warn
}

// A handler asks for a password before it shows the details. It is not needed on an address that
// only operators can reach.
func ExampleProbe_Details() {
	pool, end := openPool()
	defer end()
	probe, err := pghealth.New(pool, pghealth.Options{Timeout: patient})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer probe.Close()

	details := withPassword("correct horse battery staple", probe.Details())
	for _, password := range []string{"wrong", "correct horse battery staple"} {
		request := httptest.NewRequest(http.MethodGet, "/debug/health", nil)
		request.SetBasicAuth("operator", password)
		w := httptest.NewRecorder()
		details.ServeHTTP(w, request)
		fmt.Println(w.Code, strings.Contains(w.Body.String(), pool.Config().ConnConfig.Database))
	}
	// Output:
	// 401 false
	// 200 true
}

// Two databases in one set of handlers. The worse one decides.
func ExampleJoin() {
	pool, end := openPool()
	defer end()
	reports, gone := openPool()
	gone() // the second database does not exist
	first, err := pghealth.New(pool, pghealth.Options{Timeout: patient})
	if err != nil {
		fmt.Println(err)
		return
	}
	second, err := pghealth.New(reports, pghealth.Options{
		Name: "reports", Timeout: patient,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	probe, err := pghealth.Join(first, second)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer probe.Close() // both

	ask(first.Ready())
	ask(probe.Ready())
	// Output:
	// 200 pass
	// 503 fail
}

// The checks run in the application's health.Checker, next to others. ResultWriter shows warnings.
func ExampleProbe_Checks() {
	pool, end := openPool()
	defer end()
	probe, err := pghealth.New(pool, pghealth.Options{Timeout: patient, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer probe.Close()

	redis := errors.New("redis: connection refused")
	checker := health.NewChecker(
		health.WithChecks(probe.Checks()...),
		health.WithCheck(health.Check{Name: "redis", Check: func(context.Context) error { return redis }}),
		health.WithTimeout(2*patient), health.WithDisabledCache(), health.WithDisabledAutostart(),
	)
	handler := health.NewHandler(checker, health.WithResultWriter(probe.ResultWriter()))
	ask(handler)
	redis = nil
	ask(handler)
	// Output:
	// 503 fail
	// 200 pass
}

// The text of an error is safe for the public. The wrapped error is for the log.
func ExampleFailedError() {
	pool, end := openPool()
	end() // the database is gone
	probe, err := pghealth.New(pool, pghealth.Options{Timeout: patient, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer probe.Close()

	for _, check := range probe.Checks() {
		var failed *pghealth.FailedError
		if errors.As(check.Check(context.Background()), &failed) {
			fmt.Println(failed.Check(), failed.Category(), errors.Unwrap(failed) != nil)
		}
	}
	// Output: postgres:connectivity config true
}

// A probe of a pool of read replicas. The service may read data half a minute old, and learns of
// changes by LISTEN.
func ExampleOptions() {
	replicas, end := openPool()
	defer end()
	primary, endPrimary := openPool()
	defer endPrimary()
	connected := false // pgpool's listener status fits
	probe, err := pghealth.New(replicas, pghealth.Options{
		Name:          "replica",
		Timeout:       patient,
		MaxAge:        -1, // ask each time
		AllowReadOnly: true,
		MaxReplicaLag: 30 * time.Second,
		Primary:       primary,
		Listener: pghealth.ListenerFunc(func() (since time.Time, err error) {
			if !connected {
				return time.Now().Add(-time.Minute), errors.New("LISTEN is not connected")
			}
			return time.Now(), nil
		}),
		MaxListenerDown: 10 * time.Second,
		Logger:          slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer probe.Close()
	ask(probe.Ready())
	// Output: 503 fail
}

// A binary needs version 12 of a schema that tern migrates. pgmigrate's Migrator is itself a
// Schema.
func ExampleSchemaFunc() {
	pool, end := openPool()
	defer end()
	if _, err := pool.Exec(context.Background(),
		`create table schema_version (version int not null); insert into schema_version values (11)`); err != nil {
		fmt.Println(err)
		return
	}
	probe, err := pghealth.New(pool, pghealth.Options{
		Timeout: patient, MaxAge: -1, Logger: slog.New(slog.DiscardHandler),
		Schema: pghealth.SchemaFunc(func(ctx context.Context, conn *pgx.Conn) (current, needed int64, dirty bool,
			err error,
		) {
			err = conn.QueryRow(ctx, "select version from public.schema_version").Scan(&current)
			return current, 12, false, err
		}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer probe.Close()
	for _, check := range probe.Checks() {
		if err := check.Check(context.Background()); err != nil {
			fmt.Println(err)
		}
	}
	// Output: postgres:schema: the schema is behind this binary
}
