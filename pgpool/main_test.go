package pgpool_test

import (
	"context"
	"flag"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/internal/testkit"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "8") // more than cores, as tests wait; -parallel is read later and wins
	goleak.VerifyTestMain(m)
}

// database returns the pool configuration of an empty database of the test's own.
func database(t *testing.T) *pgxpool.Config {
	t.Helper()
	return parse(t, pgserver.Database(t))
}

func parse(t *testing.T, url string) *pgxpool.Config {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal("cannot parse the database's URL")
	}
	return config
}

// through makes config connect through a proxy.
func through(t *testing.T, config *pgxpool.Config, opts fault.Options) *fault.Proxy {
	t.Helper()
	p := fault.NewProxy(t, config.ConnString(), opts)
	config.ConnConfig.DialFunc = p.Dial
	return p
}

// connect is ConnectConfig without logging; the pool is closed at the end of the test.
func connect(t *testing.T, config *pgxpool.Config, opts ...pgpool.Option) *pgxpool.Pool {
	t.Helper()
	pool, err := pgpool.ConnectConfig(t.Context(), config, append([]pgpool.Option{pgpool.WithLogger(nil)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

type logs = testkit.Logs

// eventually waits until condition holds, for as long as a busy machine may need.
func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatal("not within 30s")
		}
		time.Sleep(2 * time.Millisecond) // polls
	}
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
