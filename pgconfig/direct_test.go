package pgconfig_test

import (
	"strings"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgconfig"
)

// TestDirectParams: a parameter of DIRECT_DATABASE_URL counts for that connection, or the report
// says that it does not.
func TestDirectParams(t *testing.T) {
	t.Parallel()
	cfg := load(t, env{
		"DATABASE_URL":             "postgres://u@localhost/d?lock_timeout=1s&application_name=web",
		"DATABASE_CONNECT_TIMEOUT": "9s",
		"DIRECT_DATABASE_URL": "postgres://u@localhost/d?lock_timeout=2min&connect_timeout=3&application_name=migrate" +
			"&statement_timeout=1h&pool_max_conns=7&pool_timeout=3&pgbouncer=false&options=-c%20work_mem%3D1MB",
	})
	direct, err := cfg.DirectConfig()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"lock_timeout": "120000", "application_name": "migrate", "statement_timeout": "3600000", "work_mem": "1MB",
		"idle_in_transaction_session_timeout": "60000",
	} {
		equal(t, name, direct.RuntimeParams[name], want)
	}
	equal(t, "ConnectTimeout", direct.ConnectTimeout, 3*time.Second)
	equal(t, "note", setting(t, cfg, "DIRECT_DATABASE_URL").Note, strings.Join([]string{
		"pool_timeout is left out: it counts in DATABASE_URL only",
		"application_name is migrate for this connection",
		"connect_timeout is 3s for this connection",
		"lock_timeout is 2m0s for this connection",
		"pool_max_conns is left out: it counts in DATABASE_URL only",
		"statement_timeout is 1h0m0s for this connection",
	}, "; "))

	pool, err := cfg.PoolConfig()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "lock_timeout of the pool", pool.ConnConfig.RuntimeParams["lock_timeout"], "1000")
	equal(t, "ConnectTimeout of the pool", pool.ConnConfig.ConnectTimeout, 9*time.Second)

	text := refused(t, pgconfig.Source{Environ: env{
		"DATABASE_URL": "postgres://u@localhost/d", "DIRECT_DATABASE_URL": "postgres://u@localhost/d?pgbouncer=true",
	}})
	equal(t, "error", text, "DIRECT_DATABASE_URL leads to PgBouncer: name the server itself: migrations and LISTEN do "+
		"not work through PgBouncer")

	// Without its own URL, the direct connection has no limit on statements.
	cfg = load(t, env{"DATABASE_URL": "postgres://u@localhost/d?statement_timeout=7s"})
	if direct, err = cfg.DirectConfig(); err != nil {
		t.Fatal(err)
	}
	equal(t, "statement_timeout", direct.RuntimeParams["statement_timeout"], "0")
}

// TestReplicaParams: a parameter of a replica's URL counts for its pool.
func TestReplicaParams(t *testing.T) {
	t.Parallel()
	cfg := load(t, env{
		"DATABASE_URL": "postgres://u@localhost/d?pool_max_conns=9",
		"DATABASE_REPLICA_URLS": "postgres://u@localhost:1/d?pool_max_conns=1&statement_timeout=5s&pool_timeout=1," +
			"postgres://u@localhost:2/d?pgbouncer=true&work_mem=1MB,postgres://u@localhost:3/d",
	})
	replicas, err := cfg.ReplicaConfigs()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "MaxConns", replicas[0].MaxConns, 1)
	equal(t, "MinIdleConns", replicas[0].MinIdleConns, 1)
	equal(t, "statement_timeout", replicas[0].ConnConfig.RuntimeParams["statement_timeout"], "5000")
	equal(t, "MaxConns", replicas[2].MaxConns, 9)
	equal(t, "AcquireTimeout", cfg.Replicas()[0].AcquireTimeout, cfg.AcquireTimeout)
	equal(t, "statement_timeout", replicas[2].ConnConfig.RuntimeParams["statement_timeout"], "30000")
	equal(t, "settings sent to PgBouncer", len(replicas[1].ConnConfig.RuntimeParams), 0)
	note := setting(t, cfg, "DATABASE_REPLICA_URLS").Note
	for _, want := range []string{
		"pool_timeout is left out: it counts in DATABASE_URL only", "pool_max_conns is 1 for this connection",
		"pgbouncer is true for this connection", "work_mem is left out: PgBouncer refuses it; set it on the role",
	} {
		if !strings.Contains(note, want) {
			t.Errorf("want %q in %q", want, note)
		}
	}
	text := refused(t, pgconfig.Source{Environ: env{
		"DATABASE_URL":          "postgres://u@localhost/d",
		"DATABASE_REPLICA_URLS": "postgres://u@localhost/d?pool_max_conns=0",
	}})
	equal(t, "error", text, "DATABASE_REPLICA_URLS has the parameter pool_max_conns, which is 0: a pool needs 1 "+
		"connection or more")
	for _, param := range []string{"pool_max_conns=3&pool_min_idle_conns=3", "keepalives_count=1"} {
		load(t, env{
			"DATABASE_URL": "postgres://u@localhost/d", "DATABASE_REPLICA_URLS": "postgres://u@localhost/d?" + param,
		})
	}
	for param, want := range map[string]string{
		"pool_min_idle_conns=50": "which is more than the pool holds",
		"keepalives_count=0":     "which is 0: write 1 or more",
	} {
		text := refused(t, pgconfig.Source{Environ: env{
			"DATABASE_URL":          "postgres://u@localhost/d",
			"DATABASE_REPLICA_URLS": "postgres://u@localhost/d?" + param,
		}})
		if !strings.Contains(text, want) {
			t.Errorf("want %q in %q", want, text)
		}
	}
}

// TestReplicas: a replica's Config tells what counts for that replica, and who set it.
func TestReplicas(t *testing.T) {
	t.Parallel()
	cfg := load(t, env{
		"APP_ENV": "test", "DATABASE_URL": "postgres://u@localhost/d?options=-c%20work_mem%3D1MB",
		"DIRECT_DATABASE_URL": "postgres://u@localhost/d", "DATABASE_LOCK_TIMEOUT": "3s",
		"DATABASE_REPLICA_URLS": "postgres://u:hunter2@localhost:1/d?pgbouncer=true," +
			"postgres://u@localhost:2/d?statement_timeout=5min&pool_max_conns=1,postgres://u@localhost:3/d",
	})
	replicas := cfg.Replicas()
	equal(t, "replicas", len(replicas), 3)
	for i, want := range []struct {
		pgBouncer, isSet bool
		timeout          time.Duration
		source           string
	}{
		{true, false, time.Minute, "default"},
		{false, true, 5 * time.Minute, "statement_timeout in DATABASE_REPLICA_URLS"},
		{false, false, time.Minute, "default"},
	} {
		one := replicas[i]
		equal(t, "PgBouncer", one.PgBouncer, want.pgBouncer)
		equal(t, "IsSet", one.IsSet("DATABASE_STATEMENT_TIMEOUT"), want.isSet)
		equal(t, "IsSet of another", one.IsSet("DATABASE_LOCK_TIMEOUT"), true)
		equal(t, "StatementTimeout", one.StatementTimeout, want.timeout)
		equal(t, "source", setting(t, one, "DATABASE_STATEMENT_TIMEOUT").Source, want.source)
		equal(t, "value", setting(t, one, "DATABASE_STATEMENT_TIMEOUT").Value, want.timeout.String())
		equal(t, "URL", one.URL().Reveal(), cfg.ReplicaURLs()[i].Reveal())
		equal(t, "Replicas", len(one.Replicas()), 0)
		if s := setting(t, one, "DATABASE_URL"); strings.Contains(s.Value, "hunter2") ||
			!strings.Contains(s.Value, "localhost:") || s.Source != "DATABASE_REPLICA_URLS" {
			t.Errorf("%+v", s)
		}
		for _, s := range one.Report() {
			if s.Key == "DATABASE_URL work_mem" || s.Key == "DIRECT_DATABASE_URL" || s.Source == "code" {
				t.Errorf("%+v", s)
			}
		}
	}

	cfg = load(t, env{
		"DATABASE_URL":          "postgres://u@localhost/d",
		"DATABASE_REPLICA_URLS": "postgres://u@localhost/d?pool_max_conns=1",
	})
	replica := cfg.Replicas()[0]
	equal(t, "MinIdleConns", replica.MinIdleConns, 1)
	equal(t, "IsSet of what had to shrink", replica.IsSet("DATABASE_POOL_MIN_IDLE_CONNS"), false)
	equal(t, "source", setting(t, replica, "DATABASE_POOL_MIN_IDLE_CONNS").Source, "default")
	equal(t, "IsSet of the primary", cfg.IsSet("DATABASE_STATEMENT_TIMEOUT"), false)
}

// TestKeywordReplicas: replicas may be written in the keyword=value form.
func TestKeywordReplicas(t *testing.T) {
	t.Parallel()
	cfg := load(t, env{
		"APP_ENV": "test", "DATABASE_URL": "postgres://u@localhost/d",
		"DATABASE_REPLICA_URLS": "host=r1 dbname=d user=u, host=r2 dbname=d user=u\nhost=r3 dbname=d user=u " +
			"password='a, host=b'",
	})
	urls := cfg.ReplicaURLs()
	equal(t, "replicas", len(urls), 3)
	equal(t, "first", urls[0].Reveal(), "postgres://u@r1:5432/d?sslmode=prefer")
	equal(t, "second", urls[1].Reveal(), "postgres://u@r2:5432/d?sslmode=prefer")
	equal(t, "third", urls[2].Reveal(), "postgres://u:a%2C%20host%3Db@r3:5432/d?sslmode=prefer")
}

// TestBouncerLimits: a limit that cannot be sent is not silently lost.
func TestBouncerLimits(t *testing.T) {
	t.Parallel()
	cfg := load(t, env{
		"DATABASE_URL":          "postgres://u@localhost/d?options=endpoint%3Dep-x%20-c%20jit%3Doff&pgbouncer=true",
		"DATABASE_LOCK_TIMEOUT": "3s",
	})
	equal(t, "note", setting(t, cfg, "DATABASE_LOCK_TIMEOUT").Note,
		"is not sent to PgBouncer, which refuses it: set it on the role")
	equal(t, "note on a default", setting(t, cfg, "DATABASE_STATEMENT_TIMEOUT").Note, "")
	pool, err := cfg.PoolConfig()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "options", pool.ConnConfig.RuntimeParams["options"], "endpoint=ep-x")
	equal(t, "settings", len(pool.ConnConfig.RuntimeParams), 1)
	equal(t, "URL", cfg.URL().Reveal(), "postgres://u@localhost:5432/d?options=endpoint%3Dep-x&sslmode=prefer")

	cfg = load(t, env{"DATABASE_URL": "postgres://u@localhost/d", "DATABASE_LOCK_TIMEOUT": "3s"})
	equal(t, "note without PgBouncer", setting(t, cfg, "DATABASE_LOCK_TIMEOUT").Note, "")
}

// TestSystemRoots: libpq refuses a weaker mode with the system's roots.
func TestSystemRoots(t *testing.T) {
	t.Parallel()
	text := refused(t, pgconfig.Source{Environ: env{"DATABASE_URL": "postgres://u:p@db/d?sslmode=require&sslrootcert=system"}})
	equal(t, "error", text, "DATABASE_URL has sslrootcert=system with sslmode=require: write sslmode=verify-full, "+
		"which it stands for")
	for _, query := range []string{"sslrootcert=system", "sslmode=verify-full&sslrootcert=system"} {
		cfg := load(t, env{"DATABASE_URL": "postgres://u:p@db/d?" + query})
		equal(t, "URL", cfg.URL().Reveal(), "postgres://u:p@db:5432/d?sslmode=verify-full&sslrootcert=system")
	}
}
