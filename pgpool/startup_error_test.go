package pgpool_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// ownRole creates a role for the database that is dropped after the test, and returns its URL and
// its quoted name.
func ownRole(t *testing.T, admin *pgxpool.Pool, database, attributes string) (as, name string) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal("cannot parse the database's URL")
	}
	role := "role_" + strings.TrimPrefix(u.Path, "/") // roles are the server's
	name = pgx.Identifier{role}.Sanitize()
	execute(t, admin, `create role `+name+` login `+attributes)
	t.Cleanup(func() { // admin's own cleanup comes after it
		if _, err := admin.Exec(context.WithoutCancel(t.Context()), `drop owned by `+name+`; drop role `+name,
			pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Error(err)
		}
	})
	u.User = url.User(role)
	return u.String(), name
}

func execute(t *testing.T, pool *pgxpool.Pool, sql string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
}

// Every error of Connect says what to do, whether waiting could have helped or not.
func TestStartupErrorSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		attributes string // of the role
		sql        string // on the database DATABASE, by who owns it
		query      string // of the URL
		category   pgerr.Category
		waited     bool
		want       string
	}{
		"not allowed in": {
			"", `revoke connect on database DATABASE from public`, "", pgerr.Permission, false,
			"grant the role CONNECT on the database",
		},
		"no slot": {
			"connection limit 0", `select 1`, "", pgerr.TooManyConnections, true, "all connection slots are taken",
		},
		"no standby": {
			"", `select 1`, "&target_session_attrs=standby", pgerr.WrongServer, true,
			"no host has the role that target_session_attrs asks for",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := pgserver.Database(t)
			admin := connect(t, parse(t, database))
			as, _ := ownRole(t, admin, database, tt.attributes)
			execute(t, admin, strings.Replace(tt.sql, "DATABASE",
				pgx.Identifier{admin.Config().ConnConfig.Database}.Sanitize(), 1))

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			log := logs{OnWrite: func(line string) {
				if strings.Contains(line, "attempt=1") {
					cancel()
				}
			}}
			_, err := pgpool.ConnectConfig(ctx, parse(t, as+tt.query), pgpool.WithLogger(log.Logger()))
			var failed *pgpool.StartupError
			if !errors.As(err, &failed) || pgerr.Of(err) != tt.category || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error is %v of category %s, want %s and %q", err, pgerr.Of(err), tt.category, tt.want)
			}
			if waited := errors.Is(failed.Ended, context.Canceled); waited != tt.waited || failed.Attempts != 1 {
				t.Errorf("%d attempts, ended by %v; want it to wait: %t", failed.Attempts, failed.Ended, tt.waited)
			}
		})
	}
}

func TestStartupErrorBeforeTheFirstAttempt(t *testing.T) {
	t.Parallel()
	_, err := pgpool.ConnectConfig(canceled(t), database(t), pgpool.WithLogger(nil))
	if err == nil || err.Error() != "connect: context canceled before the first attempt" {
		t.Errorf("error is %v", err)
	}
	var failed *pgpool.StartupError
	if !errors.As(err, &failed) || failed.Category() != pgerr.Canceled {
		t.Errorf("error is %#v, want category %s", err, pgerr.Canceled)
	}
}

// An error of the caller's hook counts like an error of the server: Connect does not return a pool
// that cannot connect.
func TestConnectWithHookThatFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("the type is not there")
	config := database(t)
	config.AfterConnect = func(context.Context, *pgx.Conn) error { return broken }
	_, err := pgpool.ConnectConfig(t.Context(), config, pgpool.WithLogger(nil))
	var failed *pgpool.StartupError
	if !errors.As(err, &failed) || failed.Attempts != 1 || !errors.Is(err, broken) {
		t.Errorf("error is %v, want the hook's after one attempt", err)
	}
}

func TestConnectWithoutRoom(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 0
	if _, err := pgpool.ConnectConfig(t.Context(), config, pgpool.WithLogger(nil)); err == nil ||
		!strings.HasPrefix(err.Error(), "connect: MaxSize must be >= 1") {
		t.Errorf("error is %v, want that there is room for nothing", err)
	}
}

// A server that hides its settings from the role works, but without the check of the limits.
func TestServerThatHidesItsSettings(t *testing.T) {
	t.Parallel()
	database := pgserver.Database(t)
	admin := connect(t, parse(t, database))
	as, _ := ownRole(t, admin, database, "")
	execute(t, admin, `revoke select on pg_catalog.pg_settings from public`) // in this database
	config := parse(t, as)
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `set statement_timeout = 0`)
		return err
	}
	var log logs
	pool := connect(t, config, pgpool.WithLogger(log.Logger()))
	if err := pool.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if len(log.Lines("attempts=1 ")) != 1 || len(log.Lines("WARN")) != 0 {
		t.Errorf("log is %q, want one attempt and no warning", &log)
	}
	pool.Close() // before the role goes
}

// A setting in options that PgBouncer refuses says nothing about the database's name.
func TestHintForASettingThatPgBouncerRefuses(t *testing.T) {
	t.Parallel()
	err := &pgpool.StartupError{Attempts: 1, Err: &pgconn.PgError{
		Severity: "FATAL", Code: "08P01", Message: "unsupported startup parameter in options: search_path",
	}}
	if hint := err.Hint(); !strings.Contains(hint, "search_path") || strings.Contains(hint, "database name") {
		t.Errorf("hint is %q, want the setting", hint)
	}
}

func TestConnectConfigWithoutParameters(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.ConnConfig.RuntimeParams = nil
	if got := limitsOf(t, connect(t, config)); got != "30s 10s 1min" {
		t.Errorf("limits are %q, want the default ones", got)
	}
}
