package pghealth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/alexliesenfeld/health"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// BenchmarkReady runs one probe after another: each with its own query, or all from one result.
func BenchmarkReady(b *testing.B) {
	pool, err := pgxpool.New(b.Context(), pgserver.Database(b))
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	for name, opts := range map[string]pghealth.Options{"query": {MaxAge: -1}, "cached": {MaxAge: 1 << 62}} {
		b.Run(name, func(b *testing.B) {
			probe, err := pghealth.New(pool, opts)
			if err != nil {
				b.Fatal(err)
			}
			defer probe.Close()
			ready := probe.Ready()
			b.ReportAllocs()
			for b.Loop() {
				askOnce(b, ready)
			}
		})
	}
}

func askOnce(t testing.TB, h http.Handler) {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	if rec.Code != http.StatusOK {
		t.Fatal(rec.Body)
	}
}

// Without the cache, a probe costs at most three times as much as pool.Ping in a checker of the
// library. It needs a quiet machine, so a variable enables it.
func TestUncachedAgainstPing(t *testing.T) {
	if os.Getenv("PGHEALTH_LOAD") == "" {
		t.Skip("set PGHEALTH_LOAD=1")
	}
	pool := newPool(t, pgserver.Database(t))
	probe, _ := newProbe(t, pool, pghealth.Options{MaxAge: -1})
	ping := health.NewHandler(health.NewChecker(health.WithDisabledCache(),
		health.WithCheck(health.Check{Name: "database", Timeout: 2 * time.Second, Check: pool.Ping})))
	sides := []http.Handler{
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) { _ = pool.Ping(context.Background()) }),
		ping,
		probe.Ready(),
		handler(probe, checker(t, probe, well)),
	}
	took := make([][]time.Duration, len(sides))
	for range 200 {
		for i, h := range sides {
			began := time.Now()
			for range 10 {
				askOnce(t, h)
			}
			took[i] = append(took[i], time.Since(began)/10)
		}
	}
	t.Logf("pool.Ping %v; in a checker %v; Ready %v; Checks in a checker %v", median(took[0]), median(took[1]),
		median(took[2]), median(took[3]))
	text := fmt.Sprintf("against pool.Ping in a checker: Ready %s, Checks in a checker %s", ratio(took[2], took[1]),
		ratio(took[3], took[1]))
	t.Log(text)
	if m := float64(median(took[3])) / float64(median(took[1])); m > 3 {
		t.Errorf("×%.1f of pool.Ping", m)
	}
}
