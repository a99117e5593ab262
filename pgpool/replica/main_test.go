package replica_test

import (
	"context"
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/internal/testkit"
	"github.com/page-builder/persistence/pgpool/replica"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "8") // more than cores, as tests wait; -parallel is read later and wins
	goleak.VerifyTestMain(m)
}

// config is a configuration with these URLs; settings are further variables.
func config(t *testing.T, primary string, replicas []string, settings ...string) pgconfig.Config {
	t.Helper()
	environ := map[string]string{
		"APP_ENV": "test", "DATABASE_URL": primary, "DATABASE_REPLICA_URLS": strings.Join(replicas, ","),
		"DATABASE_POOL_MAX_CONNS": "4", "DATABASE_POOL_MIN_IDLE_CONNS": "0", "DATABASE_REPLICA_MAX_LAG": "off",
	}
	for _, setting := range settings {
		key, value, _ := strings.Cut(setting, "=")
		environ[key] = value
	}
	cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: environ})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// open opens a cluster without logging, unless an option says otherwise; it is shut down at the end
// of the test.
func open(t *testing.T, cfg pgconfig.Config, opts ...pgpool.Option) *replica.Cluster {
	t.Helper()
	c, err := replica.Open(t.Context(), cfg, append([]pgpool.Option{pgpool.WithLogger(nil)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := c.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return c
}

// reads returns how many of n readers each host gets.
func reads(t *testing.T, c *replica.Cluster, n int) map[string]int {
	t.Helper()
	hosts := map[string]int{}
	for range n {
		hosts[host(c.Reader(t.Context()))]++
	}
	return hosts
}

func host(pool *pgxpool.Pool) string { return pool.Config().ConnConfig.Host }

// used waits until exactly the replicas on these hosts are read from.
func used(t *testing.T, c *replica.Cluster, hosts ...string) {
	t.Helper()
	eventually(t, func() bool {
		found := map[string]bool{}
		for _, status := range c.Replicas() {
			if status.Err == nil {
				found[status.Host] = true
			}
		}
		for _, host := range hosts {
			if !found[host] {
				return false
			}
		}
		return len(found) == len(hosts)
	}, func() any { return c.Replicas() })
}

// eventually waits until condition holds, for as long as a busy machine may need.
func eventually(t *testing.T, condition func() bool, state func() any) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 60s: %v", state())
		}
		time.Sleep(2 * time.Millisecond) // polls
	}
}

func execute(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func token(t *testing.T, c *replica.Cluster) replica.Token {
	t.Helper()
	token, err := c.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

type logs = testkit.Logs

// dial connects outside the pools.
func dial(t *testing.T, s *fault.Server) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// position returns how far a standby has replayed the log.
func position(t *testing.T, s *fault.Server) int64 {
	t.Helper()
	return logPosition(t, s, `pg_last_wal_replay_lsn()`)
}

// insertPosition returns where the log of a primary ends.
func insertPosition(t *testing.T, s *fault.Server) int64 {
	t.Helper()
	return logPosition(t, s, `pg_current_wal_insert_lsn()`)
}

func logPosition(t *testing.T, s *fault.Server, function string) (lsn int64) {
	t.Helper()
	conn := dial(t, s)
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), `select (`+function+` - '0/0')::bigint`).Scan(&lsn); err != nil {
		t.Fatal(err)
	}
	return lsn
}
