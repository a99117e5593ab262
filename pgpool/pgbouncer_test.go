package pgpool_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

const foundPgBouncer = "PgBouncer is in front of the database"

func TestPgBouncer(t *testing.T) {
	t.Parallel()
	swallow := map[string]string{
		"ignore_startup_parameters": "statement_timeout,lock_timeout,idle_in_transaction_session_timeout",
	}
	for name, tt := range map[string]struct {
		settings   map[string]string
		configured bool // DATABASE_PGBOUNCER
		role       bool // the limits are set on the database
		direct     bool // ConnectConfig
		found, off int  // warnings
	}{
		"refuses the limits":                    {found: 1, off: 1},
		"refuses them of ConnectConfig":         {direct: true, found: 1, off: 1},
		"swallows the limits":                   {settings: swallow, found: 1, off: 1},
		"configured, no limits":                 {configured: true, off: 1},
		"configured, limits on the database":    {configured: true, role: true},
		"swallows them, limits on the database": {settings: swallow, role: true, found: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := pgserver.Database(t)
			if tt.role {
				admin := connect(t, parse(t, database))
				for _, limit := range []string{
					"statement_timeout = '20s'", "lock_timeout = '5s'", "idle_in_transaction_session_timeout = '60s'",
				} {
					if _, err := admin.Exec(t.Context(),
						"alter database "+pgx.Identifier{admin.Config().ConnConfig.Database}.Sanitize()+
							" set "+limit); err != nil {
						t.Fatal(err)
					}
				}
			}
			url := fault.NewPgBouncer(t, database, tt.settings).URL()
			var log logs
			pool := connectBehind(t, url, tt.configured, tt.direct, pgpool.WithLogger(log.Logger()))
			if n := len(log.Lines(foundPgBouncer)); n != tt.found {
				t.Errorf("%d warnings about PgBouncer, want %d:\n%s", n, tt.found, &log)
			}
			if n := len(log.Lines(notInEffect)); n != tt.off {
				t.Errorf("%d warnings about limits, want %d:\n%s", n, tt.off, &log)
			}
			if tt.off == 1 && len(log.Lines("ALTER ROLE")) != 1 {
				t.Errorf("log is %q, want what to do about the limits", &log)
			}
			sameQueries(t, pool)
		})
	}
}

func connectBehind(t *testing.T, url string, configured, direct bool, opts ...pgpool.Option) *pgxpool.Pool {
	t.Helper()
	if direct {
		return connect(t, parse(t, url), opts...)
	}
	environ := map[string]string{"DATABASE_URL": url, "APP_ENV": "test"}
	if configured {
		environ["DATABASE_PGBOUNCER"] = "true"
	}
	cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: environ})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgpool.Connect(t.Context(), cfg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// sameQueries sends the same statements from several clients: named ones would collide.
func sameQueries(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	var group sync.WaitGroup
	for range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := range 30 {
				var got int
				if err := pool.QueryRow(t.Context(), `select $1::int + `+fmt.Sprint(i%3), i).Scan(&got); err != nil ||
					got != i+i%3 {
					t.Errorf("got %d, %v; want %d", got, err, i+i%3)
					return
				}
			}
		}()
	}
	group.Wait()
}

// An exec mode that the connection string sets is kept.
func TestPgBouncerWithChosenExecMode(t *testing.T) {
	t.Parallel()
	url := fault.NewPgBouncer(t, pgserver.Database(t), nil).URL() +
		"&default_query_exec_mode=simple_protocol"
	pool := connectBehind(t, url, false, true)
	if mode := pool.Config().ConnConfig.DefaultQueryExecMode; mode != pgx.QueryExecModeSimpleProtocol {
		t.Errorf("exec mode is %s, want the one that was asked for", mode)
	}
	sameQueries(t, pool)
}

// Without PgBouncer nothing changes.
func TestNoPgBouncer(t *testing.T) {
	t.Parallel()
	var log logs
	pool := connect(t, database(t), pgpool.WithLogger(log.Logger()))
	if mode := pool.Config().ConnConfig.DefaultQueryExecMode; mode != pgx.QueryExecModeCacheStatement {
		t.Errorf("exec mode is %s, want pgx's default", mode)
	}
	if len(log.Lines(foundPgBouncer)) != 0 {
		t.Errorf("log is %q, want nothing about PgBouncer", &log)
	}
}
