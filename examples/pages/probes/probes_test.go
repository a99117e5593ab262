package probes_test

import (
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/examples/pages/probes"
	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

func ExampleMount() {
	var pool *pgxpool.Pool
	probe, err := pghealth.New(pool, pghealth.Options{})
	if err != nil {
		log.Print(err)
		return
	}
	defer probe.Close()

	pages := http.NotFoundHandler()
	log.Print(http.ListenAndServe("127.0.0.1:8080", probes.Mount(probe, pages, 100)))
}

// A service with no free request slot, on a pool with no free connection, is busy but ready.
func TestBusyIsReady(t *testing.T) {
	t.Parallel()
	cfg, err := pgxpool.ParseConfig(pgserver.Database(t))
	if err != nil {
		t.Fatal("the test server's URL does not parse")
	}
	cfg.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	probe, err := pghealth.New(pool, pghealth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()

	working, leave := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(probes.Mount(probe, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		conn, err := pool.Acquire(r.Context())
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Release()
		close(working)
		<-leave
	}), 1))
	defer server.Close()
	done := make(chan int)
	go func() { done <- status(t, server, "/page") }()
	<-working
	for path, want := range map[string]int{"/page": 429, "/readyz": 200, "/livez": 200, "/startupz": 200} {
		if got := status(t, server, path); got != want {
			t.Errorf("%s: %d instead of %d", path, got, want)
		}
	}
	probe.Drain()
	if got := status(t, server, "/readyz"); got != http.StatusServiceUnavailable {
		t.Errorf("draining: %d", got)
	}
	close(leave)
	if got := <-done; got != http.StatusOK {
		t.Errorf("the request under way: %d", got)
	}
}

func status(t *testing.T, server *httptest.Server, path string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
	if err != nil {
		t.Error(err)
		return 0
	}
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Error(err)
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}
