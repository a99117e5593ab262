package main

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	liesenfeld "github.com/alexliesenfeld/health"
	hellofresh "github.com/hellofresh/health-go/v5"
	hellofreshpgx "github.com/hellofresh/health-go/v5/checks/pgx5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
)

// prober makes the handler of a health endpoint for the database of a pool.
type prober struct {
	name string
	open func(url string, pool *pgxpool.Pool) (handler http.Handler, end func(), err error)
}

// probers are as the documentation of each shows them, and those that remember an answer once more
// without that.
var probers = []prober{
	{"health, pool.Ping, no cache", pinging(liesenfeld.WithDisabledCache())},
	{"health, pool.Ping", pinging()},
	{"health-go, pgx5", healthGo},
	{"pghealth", probing(0)},
	{"pghealth, MaxAge: -1", probing(-1)},
}

func healthGo(url string, _ *pgxpool.Pool) (http.Handler, func(), error) {
	h, err := hellofresh.New(hellofresh.WithChecks(hellofresh.Config{
		Name: "postgres", Timeout: 2 * time.Second, Check: hellofreshpgx.New(hellofreshpgx.Config{DSN: url}),
	}))
	if err != nil {
		return nil, nil, err
	}
	return h.Handler(), func() {}, nil
}

func pinging(opts ...liesenfeld.CheckerOption) func(string, *pgxpool.Pool) (http.Handler, func(), error) {
	return func(_ string, pool *pgxpool.Pool) (http.Handler, func(), error) {
		checker := liesenfeld.NewChecker(append([]liesenfeld.CheckerOption{
			liesenfeld.WithTimeout(10 * time.Second),
			liesenfeld.WithCheck(liesenfeld.Check{Name: "database", Timeout: 2 * time.Second, Check: pool.Ping}),
		}, opts...)...)
		return liesenfeld.NewHandler(checker), checker.Stop, nil
	}
}

func probing(maxAge time.Duration) func(string, *pgxpool.Pool) (http.Handler, func(), error) {
	return func(_ string, pool *pgxpool.Pool) (http.Handler, func(), error) {
		probe, err := pghealth.New(pool, pghealth.Options{MaxAge: maxAge, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return nil, nil, err
		}
		return probe.Ready(), probe.Close, nil
	}
}

// ask probes once.
func ask(handler http.Handler) (code int) {
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/", nil))
	return answer.Code
}
