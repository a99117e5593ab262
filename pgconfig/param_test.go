package pgconfig_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgconfig"
)

func TestTranslated(t *testing.T) {
	t.Parallel()
	const off = 0
	for query, check := range map[string]func(pgconfig.Config) (got, want any){
		// Prisma
		"connection_limit=7": func(c pgconfig.Config) (any, any) { return c.MaxConns, int32(7) },
		"pool_timeout=3": func(c pgconfig.Config) (any, any) {
			return c.AcquireTimeout,
				3 * time.Second
		},
		"pool_timeout=0": func(c pgconfig.Config) (any, any) {
			return c.AcquireTimeout,
				time.Duration(off)
		},
		"socket_timeout=9": func(c pgconfig.Config) (any, any) {
			return c.StatementTimeout,
				9 * time.Second
		},
		"pgbouncer=true":                  func(c pgconfig.Config) (any, any) { return c.PgBouncer, true },
		"max_connection_lifetime=60":      func(c pgconfig.Config) (any, any) { return c.MaxConnLifetime, time.Minute },
		"max_idle_connection_lifetime=60": func(c pgconfig.Config) (any, any) { return c.MaxConnIdleTime, time.Minute },
		// libpq and the server
		"connect_timeout=3": func(c pgconfig.Config) (any,
			any,
		) {
			return c.ConnectTimeout, 3 * time.Second
		},
		"application_name=web": func(c pgconfig.Config) (any,
			any,
		) {
			return c.ApplicationName, "web"
		},
		"fallback_application_name=x": func(c pgconfig.Config) (any,
			any,
		) {
			return c.ApplicationName, "x"
		},
		"fallback_application_name=x&application_name=web": func(c pgconfig.Config) (any,
			any,
		) {
			return c.ApplicationName, "web"
		},
		"statement_timeout=1500": func(c pgconfig.Config) (any,
			any,
		) {
			return c.StatementTimeout, 1500 * time.Millisecond
		},
		"lock_timeout=2min": func(c pgconfig.Config) (any, any) {
			return c.LockTimeout,
				2 * time.Minute
		},
		"idle_in_transaction_session_timeout=0": func(c pgconfig.Config) (any,
			any,
		) {
			return c.IdleInTransactionTimeout, time.Duration(off)
		},
		"options=-c%20statement_timeout%3D7s": func(c pgconfig.Config) (any,
			any,
		) {
			return c.StatementTimeout, 7 * time.Second
		},
		"options=--lock-timeout%3D7": func(c pgconfig.Config) (any, any) {
			return c.LockTimeout,
				7 * time.Millisecond
		},
		"options=-clock_timeout%3D7&lock_timeout=8": func(c pgconfig.Config) (any, any) {
			return c.LockTimeout,
				8 * time.Millisecond
		},
		"keepalives=0&keepalives_idle=9": func(c pgconfig.Config) (any, any) {
			return c.KeepAliveIdle,
				time.Duration(off)
		},
		"keepalives=1&keepalives_idle=9": func(c pgconfig.Config) (any, any) {
			return c.KeepAliveIdle,
				9 * time.Second
		},
		"keepalives_idle=0": func(c pgconfig.Config) (any, any) {
			return c.KeepAliveIdle,
				30 * time.Second
		},
		"keepalives_interval=4&keepalives_count=5": func(c pgconfig.Config) (any, any) {
			return c.KeepAliveInterval*10 + time.Duration(c.KeepAliveCount), 40*time.Second + 5
		},
		"tcp_user_timeout=1500": func(c pgconfig.Config) (any, any) {
			return c.TCPUserTimeout,
				1500 * time.Millisecond
		},
		// pgxpool
		"pool_max_conns=7&pool_min_conns=3&pool_min_idle_conns=2": func(c pgconfig.Config) (any,
			any,
		) {
			return c.MinIdleConns, int32(2)
		},
		"pool_max_conn_lifetime=1h30m": func(c pgconfig.Config) (any,
			any,
		) {
			return c.MaxConnLifetime, 90 * time.Minute
		},
	} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			cfg, err := pgconfig.Parse("postgres://u@localhost/d?" + query)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := check(cfg); got != want {
				t.Errorf("got %v, want %v", got, want)
			}
			pc, err := cfg.PoolConfig()
			if err != nil {
				t.Fatal(err)
			}
			for name := range pc.ConnConfig.RuntimeParams {
				switch name {
				case "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "application_name",
					"options":
				default:
					t.Errorf("%s is sent to the server", name)
				}
			}
		})
	}
}

// TestVariableWins: one of our variables beats a parameter, and the report says that they differ.
func TestVariableWins(t *testing.T) {
	t.Parallel()
	cfg := load(t, env{
		"DATABASE_URL":            "postgres://u@localhost/d?connection_limit=7&pool_timeout=9",
		"DATABASE_POOL_MAX_CONNS": "3",
	})
	equal(t, "MaxConns", cfg.MaxConns, 3)
	equal(t, "note", setting(t, cfg, "DATABASE_POOL_MAX_CONNS").Note, "wins over connection_limit in DATABASE_URL")
	equal(t, "source", setting(t, cfg, "DATABASE_ACQUIRE_TIMEOUT").Source, "pool_timeout in DATABASE_URL")
}

func TestPrisma(t *testing.T) {
	t.Parallel()
	root := file(t, "root.crt", authority(t))
	for _, test := range []struct {
		query string
		host  string
		url   string // what follows the host
		note  string
	}{
		{"schema=public", "localhost", "options=-c%20search_path%3Dpublic&sslmode=prefer", "schema became search_path"},
		{
			"schema=My+App", "localhost", "options=-c%20search_path%3D%22My%2BApp%22&sslmode=prefer",
			"the + in schema stands for itself: write a space as %20; schema became search_path",
		},
		{
			"schema=a%22b", "localhost", "options=-c%20search_path%3D%22a%22%22b%22&sslmode=prefer",
			"schema became search_path",
		},
		{
			"sslmode=require&sslaccept=strict", "db", "sslmode=verify-full&sslrootcert=system",
			"sslaccept=strict became sslmode=verify-full",
		},
		{
			"sslaccept=accept_invalid_certs", "localhost", "sslmode=require",
			"sslaccept=accept_invalid_certs does not verify the server",
		},
		{
			"sslmode=require&sslcert=" + root, "db", "sslmode=require&sslrootcert=" + root,
			"sslcert without sslkey became sslrootcert, as Prisma means it",
		},
		{
			"statement_cache_size=0", "localhost", "sslmode=prefer",
			"statement_cache_size=0 became default_query_exec_mode=cache_describe",
		},
		{
			"statement_cache_size=100", "localhost", "sslmode=prefer",
			"statement_cache_size became statement_cache_capacity",
		},
	} {
		t.Run(test.query, func(t *testing.T) {
			t.Parallel()
			cfg := load(t, env{"DATABASE_URL": "postgres://u:p@" + test.host + "/d?" + test.query})
			equal(t, "URL", cfg.URL().Reveal(), "postgres://u:p@"+test.host+":5432/d?"+test.url)
			equal(t, "note", setting(t, cfg, "DATABASE_URL").Note, test.note)
			if _, err := cfg.PoolConfig(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPgBouncer(t *testing.T) {
	t.Parallel()
	const url = "postgres://u:p@localhost:6432/d?pgbouncer=true&schema=public&work_mem=8MB&timezone=UTC&application_name=web"
	cfg := load(t, env{"DATABASE_URL": url})
	pc, err := cfg.PoolConfig()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "exec mode", pc.ConnConfig.DefaultQueryExecMode, pgx.QueryExecModeCacheDescribe)
	for name := range pc.ConnConfig.RuntimeParams {
		if name != "timezone" && name != "application_name" {
			t.Errorf("%s is sent to PgBouncer", name)
		}
	}
	if note := setting(t, cfg, "DATABASE_URL").Note; !strings.Contains(note, "work_mem is left out") {
		t.Error(note)
	}
	if _, err := cfg.DirectConfig(); err == nil || !strings.Contains(err.Error(),
		"DIRECT_DATABASE_URL is not set, and DATABASE_URL leads to PgBouncer") {
		t.Errorf("got %v", err)
	}

	cfg = load(t, env{
		"APP_ENV": "test", "DATABASE_URL": url,
		"DIRECT_DATABASE_URL": "postgres://u:p@localhost/d?work_mem=8MB",
	})
	cc, err := cfg.DirectConfig()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "exec mode", cc.DefaultQueryExecMode, pgx.QueryExecModeCacheStatement)
	equal(t, "work_mem", cc.RuntimeParams["work_mem"], "8MB")
	equal(t, "lock_timeout", cc.RuntimeParams["lock_timeout"], "5000")

	cfg = load(t, env{"DATABASE_URL": url + "&default_query_exec_mode=cache_statement"})
	if pc, err = cfg.PoolConfig(); err != nil {
		t.Fatal(err)
	}
	equal(t, "exec mode", pc.ConnConfig.DefaultQueryExecMode, pgx.QueryExecModeCacheStatement)

	text := refused(t, pgconfig.Source{Environ: env{"DATABASE_URL": "postgres://u@localhost/d?pgbouncer=true&schema=shop"}})
	if !strings.Contains(text, "asks for a schema or search_path, which PgBouncer refuses") {
		t.Error(text)
	}
}
