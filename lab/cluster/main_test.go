package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/page-builder/persistence/lab/cluster"
	"github.com/page-builder/persistence/pgconfig"
)

// patience limits how long a test waits for what takes seconds on an idle machine.
const patience = 4 * time.Minute

var started atomic.Bool // shared was called

// shared is the cluster of all tests in this process. Tests that change the primary do not run in
// parallel.
var shared = sync.OnceValues(func() (*cluster.Cluster, error) {
	started.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return cluster.Start(ctx, cluster.Options{Log: os.Stdout})
})

func TestMain(m *testing.M) {
	if os.Getenv("CLUSTER_TEST_DIE") != "" {
		os.Exit(startAndWait())
	}
	code := m.Run()
	if err := stopShared(); err != nil {
		fmt.Println("FAIL:", err)
		code = 1
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Println("FAIL:", err)
		code = 1
	}
	os.Exit(code)
}

// stopShared stops the cluster and reports what it left behind. A cluster that did not start has
// failed the tests already.
func stopShared() error {
	if !started.Load() {
		return nil
	}
	c, err := shared()
	if c == nil {
		return err
	}
	return errors.Join(c.Stop(), c.Stop(), left(c.Dir(), c.Env()))
}

// start returns the shared cluster when it is ready.
func start(t *testing.T) *cluster.Cluster {
	t.Helper()
	if err := cluster.Check(); err != nil {
		t.Skip(err)
	}
	c, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ready(limited(t)); err != nil {
		t.Fatal(err)
	}
	return c
}

// long skips a test that takes a minute, unless CLUSTER_LONG is set. Without it only the demo's
// test fails over.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("CLUSTER_LONG") == "" {
		t.Skip("takes a minute: CLUSTER_LONG=1 GOWORK=off go -C lab/cluster test ./...")
	}
}

// limited returns the test's context with a timeout of patience.
func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// ways returns the environment for each name of a cluster.Way.
func ways(c *cluster.Cluster) map[string]map[string]string {
	named := map[string]map[string]string{}
	for _, w := range c.Env().Ways() {
		named[w.Name] = w.Environ
	}
	return named
}

func load(t *testing.T, environ map[string]string) pgconfig.Config {
	t.Helper()
	cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: environ})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// eventually waits until condition returns nil.
func eventually(t *testing.T, condition func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = condition(); err == nil {
			return
		}
	}
	t.Fatalf("not within %s: %v", patience, err)
}

func gone(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is still there (%v)", path, err)
	}
	return nil
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
