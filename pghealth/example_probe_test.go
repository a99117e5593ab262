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

// patient has a limit that suits a busy machine. So has every example here; a service has the
// default, 0.8 s.
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
	probe.Drain() // shutdown begins: the load balancer is to send no more
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

// The checks in a health.Checker of the application's own, beside others. Warnings come through
// ResultWriter.
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

// Checks one by one: what gates the traffic is asked, what only warns is looked at twice a minute.
func ExampleProbe_Transactions() {
	pool, end := openPool()
	defer end()
	probe, err := pghealth.New(pool, pghealth.Options{Timeout: patient})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer probe.Close()

	checker := health.NewChecker(
		health.WithChecks(probe.Serving(), probe.Connectivity(), probe.Saturation()),
		health.WithPeriodicCheck(30*time.Second, 0, probe.Transactions()),
		health.WithPeriodicCheck(30*time.Second, 0, probe.Connections()),
		health.WithTimeout(2*patient),
	)
	defer checker.Stop()
	fmt.Println(checker.Check(context.Background()).Details["postgres:connectivity"].Status)
	// Output: up
}

// The text of an error is fit for the public; what it wraps is for the log.
func ExampleFailedError() {
	pool, end := openPool()
	end() // the database is gone
	probe, err := pghealth.New(pool, pghealth.Options{Timeout: patient, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer probe.Close()

	err = probe.Connectivity().Check(context.Background())
	var failed *pghealth.FailedError
	if errors.As(err, &failed) {
		fmt.Println(failed.Check(), failed.Category(), errors.Unwrap(failed) != nil)
	}
	// Output: postgres:connectivity config true
}

// A check that hangs, of whoever it is, keeps its last status for ever, be it up. StaleAfter ends
// that.
func ExampleStaleAfter() {
	release := make(chan struct{})
	first := true
	checker := health.NewChecker(
		health.WithPeriodicCheck(time.Millisecond, 0, health.Check{Name: "search", Check: func(context.Context) error {
			if first {
				first = false
				return nil
			}
			<-release // hangs
			return nil
		}}),
		health.WithDisabledCache(),
	)
	defer checker.Stop()
	defer close(release)

	handler := health.NewHandler(checker, health.WithMiddleware(pghealth.StaleAfter(50*time.Millisecond)))
	for {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if strings.Contains(w.Body.String(), pghealth.ErrStale.Error()) {
			fmt.Println(w.Code, pghealth.ErrStale)
			return
		}
		time.Sleep(time.Millisecond)
	}
	// Output: 503 the check has not ended for too long: its last result does not count any more
}

// A probe of a pool of read replicas, for a service whose reads may be half a minute old, and which
// hears of changes by LISTEN.
func ExampleOptions() {
	replicas, end := openPool()
	defer end()
	connected := false // pgpool.ListenerStatus tells
	probe, err := pghealth.New(replicas, pghealth.Options{
		Name:          "replica",
		Timeout:       patient,
		MaxAge:        -1, // ask each time
		AllowReadOnly: true,
		MaxReplicaLag: 30 * time.Second,
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

// A binary that needs version 12 of a schema that tern migrates.
func ExampleSchemaFunc() {
	pool, end := openPool()
	defer end()
	if _, err := pool.Exec(context.Background(), `create table schema_version (version int not null); insert into schema_version values (11)`); err != nil {
		fmt.Println(err)
		return
	}
	probe, err := pghealth.New(pool, pghealth.Options{
		Timeout: patient, MaxAge: -1, Logger: slog.New(slog.DiscardHandler),
		Schema: pghealth.SchemaFunc(func(ctx context.Context, conn *pgx.Conn) (pghealth.SchemaVersion, error) {
			v := pghealth.SchemaVersion{Needed: 12}
			err := conn.QueryRow(ctx, "select version from public.schema_version").Scan(&v.Current)
			return v, err
		}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer probe.Close()
	fmt.Println(probe.Schema().Check(context.Background()))
	// Output: postgres:schema: the schema is behind this binary
}

// Operators see more than the public: host, database, figures.
func ExampleToken() {
	pool, end := openPool()
	defer end()
	token := pghealth.Token("Z5BQ2VMT7JXK4WNE6RYC")
	probe, err := pghealth.New(pool, pghealth.Options{Timeout: patient, Token: token})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer probe.Close()

	request := httptest.NewRequest(http.MethodGet, "/readyz?verbose", nil)
	w := httptest.NewRecorder()
	probe.Ready().ServeHTTP(w, request)
	fmt.Println(w.Code)
	request.Header.Set("Authorization", "Bearer "+string(token))
	w = httptest.NewRecorder()
	probe.Ready().ServeHTTP(w, request)
	fmt.Println(w.Code, strings.Contains(w.Body.String(), pool.Config().ConnConfig.Database))
	fmt.Printf("%v %q\n", token, token)
	// Output:
	// 401
	// 200 true
	// **** ****
}
