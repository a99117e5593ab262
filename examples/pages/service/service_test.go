package service_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/page-builder/persistence/examples/pages/service"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool/replica"
	"github.com/page-builder/persistence/pgtest"
)

// running is a service under test.
type running struct {
	url   string
	debug string // the internal address
	end   context.CancelFunc
	ended chan error
}

func start(t *testing.T, drain time.Duration, app service.App) *running {
	t.Helper()
	cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: map[string]string{
		"APP_ENV": "test", "DATABASE_URL": pgtest.URL(t),
		"DATABASE_REPLICA_URLS": "postgres://app@127.0.0.1:1/app", // a replica that is down
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.WithoutCancel(t.Context()))
	r := &running{end: end, ended: make(chan error, 1)}
	started, debug := make(chan string, 1), make(chan string, 1)
	go func() {
		r.ended <- service.Run(ctx, service.Options{
			Name: "test", Address: "127.0.0.1:0", Database: cfg, Logger: slog.New(slog.DiscardHandler), Drain: drain,
			Internal: "127.0.0.1:0",
			Started:  func(address string) { started <- "http://" + address },
			Debug:    func(address string) { debug <- "http://" + address },
		}, func(*replica.Cluster) (service.App, error) { return app, nil })
	}()
	t.Cleanup(end)
	select {
	case r.url = <-started:
		r.debug = <-debug
	case err := <-r.ended:
		t.Fatal(err)
	}
	return r
}

func (r *running) get(t *testing.T, path string) (int, string) { return get(t, r.url+path) }

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	answer, err := http.Get(url) // the service ends before the test does
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Error(err)
	}
	return answer.StatusCode, string(b)
}

// After SIGTERM a service is not ready, keeps answering for a while, and finishes open requests.
func TestRunEndsInOrder(t *testing.T) {
	t.Parallel()
	begun, finish := make(chan struct{}), make(chan struct{})
	backgroundEnded := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "quick") })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-finish
		_, _ = io.WriteString(w, "finished")
	})
	r := start(t, 3*time.Second, service.App{Handler: mux, Background: func(ctx context.Context) error {
		defer close(backgroundEnded)
		<-ctx.Done()
		return ctx.Err()
	}})
	if status, _ := r.get(t, "/startupz"); status != http.StatusOK {
		t.Errorf("started, /startupz answers %d", status)
	}
	slow := make(chan string, 1)
	go func() { _, body := r.get(t, "/slow"); slow <- body }()
	<-begun
	r.end()
	// It learns of the end in another goroutine.
	for limit := time.Now().Add(3 * time.Second); ; time.Sleep(time.Millisecond) {
		status, body := r.get(t, "/readyz")
		if status == http.StatusServiceUnavailable && strings.Contains(body, "serving") {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("draining, /readyz answers %d %s", status, body)
		}
	}
	if _, body := r.get(t, "/"); body != "quick" {
		t.Errorf("draining, a new request got %q", body)
	}
	<-backgroundEnded
	select {
	case err := <-r.ended:
		t.Errorf("it ended before a request did: %v", err)
	default:
	}
	close(finish)
	if body := <-slow; body != "finished" {
		t.Errorf("the request that was being answered got %q", body)
	}
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}

// Operators see where the database is, at an internal address.
func TestInternalAddress(t *testing.T) {
	t.Parallel()
	r := start(t, -1, service.App{Handler: http.NotFoundHandler()})
	if status, body := get(t, r.debug+"/debug/health"); status != http.StatusOK || !strings.Contains(body, `"database"`) {
		t.Errorf("%d %s", status, body)
	}
	if status, body := r.get(t, "/debug/health"); status != http.StatusNotFound {
		t.Errorf("in public: %d %s", status, body)
	}
	r.end()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	if answer, err := http.Get(r.debug + "/debug/health"); err == nil {
		answer.Body.Close()
		t.Error("the internal address outlives the service")
	}
}

// A replica that is down keeps no service from starting, and its gauge says so.
func TestReplicaGauge(t *testing.T) {
	t.Parallel()
	r := start(t, -1, service.App{Handler: http.NotFoundHandler()})
	if _, body := r.get(t, "/metrics"); !strings.Contains(body, `server_port="1"} 0`) {
		t.Errorf("/metrics does not say that the replica is down:\n%s", body)
	}
	r.end()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}

// If the background work ends early, the service ends too. Otherwise it would serve stale pages.
func TestRunEndsWithItsBackground(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	r := start(t, -1, service.App{Handler: http.NotFoundHandler(), Background: func(context.Context) error {
		return broken
	}})
	if err := <-r.ended; !errors.Is(err, broken) {
		t.Errorf("it ended with %v", err)
	}
}
