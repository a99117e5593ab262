package pgpool_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

const notInEffect = "limits are not in effect"

func limitsOf(t *testing.T, pool *pgxpool.Pool) string {
	t.Helper()
	var all string
	if err := pool.QueryRow(t.Context(),
		`select concat_ws(' ', current_setting('statement_timeout'), current_setting('lock_timeout'),
		current_setting('idle_in_transaction_session_timeout'))`).Scan(&all); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestServerLimits(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		params map[string]string
		opts   []pgpool.Option
		want   string
	}{
		"default":      {nil, nil, "30s 10s 1min"},
		"the caller's": {map[string]string{"statement_timeout": "7000"}, nil, "7s 10s 1min"},
		"in options":   {map[string]string{"options": "-c lock_timeout=3s"}, nil, "30s 3s 1min"},
		"option": {
			map[string]string{"statement_timeout": "7000"},
			[]pgpool.Option{pgpool.WithServerLimits(pgpool.ServerLimits{Statement: time.Second})},
			"1s 0 0",
		},
		"a microsecond": {
			nil, []pgpool.Option{pgpool.WithServerLimits(pgpool.ServerLimits{Lock: time.Microsecond})}, "0 1ms 0",
		},
		"readable values": {map[string]string{"statement_timeout": "2min"}, nil, "2min 10s 1min"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := database(t)
			for k, v := range tt.params {
				config.ConnConfig.RuntimeParams[k] = v
			}
			var log logs
			pool := connect(t, config, append(tt.opts, pgpool.WithLogger(log.Logger()))...)
			if got := limitsOf(t, pool); got != tt.want {
				t.Errorf("limits are %q, want %q", got, tt.want)
			}
			if len(log.Lines(notInEffect)) != 0 {
				t.Errorf("log is %q, want no warning", &log)
			}
		})
	}
}

// The programmer's option overrides the operator's configuration.
func TestServerLimitsBesideAConfiguration(t *testing.T) {
	t.Parallel()
	cfg, err := pgconfig.Parse(pgserver.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgpool.Connect(t.Context(), cfg, pgpool.WithLogger(nil),
		pgpool.WithServerLimits(pgpool.ServerLimits{Statement: time.Second}))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if got := limitsOf(t, pool); got != "1s 0 0" {
		t.Errorf("limits are %q, want 1s and no others", got)
	}
}

func TestLimitsThatAreNotInEffectAreNamed(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `set statement_timeout = 0; set lock_timeout = '1s'`)
		return err
	}
	var log logs
	connect(t, config, pgpool.WithLogger(log.Logger()))
	lines := log.Lines(notInEffect)
	if len(lines) != 1 || !strings.Contains(lines[0], "settings=statement_timeout ") {
		t.Errorf("log is %q, want a warning about statement_timeout only", &log)
	}
}

// A default yields to a stricter limit of the server's own configuration too.
func TestDefaultLimitsYieldToTheServersConfiguration(t *testing.T) {
	t.Parallel()
	server := fault.NewServer(t, fault.ServerOptions{})
	server.Exec(t, `alter system set statement_timeout = '2s'`, `select pg_reload_conf()`)
	config := parse(t, server.URL())
	eventually(t, func() bool {
		conn, err := pgx.ConnectConfig(t.Context(), config.ConnConfig)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		var limit string
		return conn.QueryRow(t.Context(), `show statement_timeout`).Scan(&limit) == nil && limit == "2s"
	})
	if got := limitsOf(t, connect(t, config)); got != "2s 10s 1min" {
		t.Errorf("limits are %q, want the server's and two defaults", got)
	}
}

// A server limit ends the statement and keeps the connection.
func TestServerLimitKeepsTheConnection(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 1
	pool := connect(t, config, pgpool.WithServerLimits(pgpool.ServerLimits{Statement: 200 * time.Millisecond}))
	pid := pidOf(t, pool)
	if _, err := pool.Exec(t.Context(), `select pg_sleep(60)`); pgerr.Of(err) != pgerr.Timeout {
		t.Errorf("error is %v, want timeout", err)
	}
	if after := pidOf(t, pool); after != pid {
		t.Error("the connection was lost")
	}
}

// A default does not override a stricter limit of the role or the database. A configured limit
// does, with a note.
func TestDefaultLimitsYieldToTheRole(t *testing.T) {
	t.Parallel()
	config := database(t)
	admin := connect(t, config)
	name := pgx.Identifier{config.ConnConfig.Database}.Sanitize()
	for _, limit := range []string{
		`statement_timeout = '2s'`, `lock_timeout = '20s'`, `idle_in_transaction_session_timeout = 1500`,
	} {
		if _, err := admin.Exec(t.Context(), `alter database `+name+` set `+limit); err != nil {
			t.Fatal(err)
		}
	}
	const overruled = "overrules a stricter one"
	for name, tt := range map[string]struct {
		connect func(opts ...pgpool.Option) (*pgxpool.Pool, error)
		want    string
		notes   int
	}{
		"ConnectConfig": {func(opts ...pgpool.Option) (*pgxpool.Pool, error) {
			return pgpool.ConnectConfig(t.Context(), config, opts...)
		}, "2s 10s 1500ms", 0},
		"ConnectConfig with an option": {func(opts ...pgpool.Option) (*pgxpool.Pool, error) {
			return pgpool.ConnectConfig(t.Context(), config, append(opts,
				pgpool.WithServerLimits(pgpool.ServerLimits{Statement: 3 *
					time.Second, IdleInTransaction: time.Second}))...)
		}, "3s 0 1s", 2},
		"Connect": {func(opts ...pgpool.Option) (*pgxpool.Pool, error) {
			return connectLimits(t, config, nil, opts)
		}, "2s 5s 1500ms", 0},
		"Connect with a variable": {func(opts ...pgpool.Option) (*pgxpool.Pool, error) {
			return connectLimits(t, config, map[string]string{"DATABASE_STATEMENT_TIMEOUT": "45s"}, opts)
		}, "45s 5s 1500ms", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log logs
			pool, err := tt.connect(pgpool.WithLogger(log.Logger()))
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			if got := limitsOf(t, pool); got != tt.want {
				t.Errorf("limits are %q, want %q", got, tt.want)
			}
			if got := len(log.Lines(overruled)); got != tt.notes {
				t.Errorf("%d notes, want %d:\n%s", got, tt.notes, &log)
			}
			if len(log.Lines(notInEffect)) != 0 {
				t.Errorf("log is %q, want no warning", &log)
			}
		})
	}
}

func connectLimits(
	t *testing.T, config *pgxpool.Config, environ map[string]string, opts []pgpool.Option,
) (*pgxpool.Pool, error) {
	t.Helper()
	all := map[string]string{"APP_ENV": "test", "DATABASE_URL": config.ConnString()}
	for k, v := range environ {
		all[k] = v
	}
	cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: all})
	if err != nil {
		t.Fatal(err)
	}
	return pgpool.Connect(t.Context(), cfg, opts...)
}
