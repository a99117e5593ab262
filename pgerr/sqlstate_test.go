package pgerr_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgerr"
)

func TestSQLState(t *testing.T) {
	t.Parallel()
	const retry, wait = true, true
	for _, test := range []struct {
		code     string
		category pgerr.Category
		retry    bool
		wait     bool
	}{
		{"08000", pgerr.Connection, retry, wait},
		{"08001", pgerr.Refused, !retry, wait},
		{"08003", pgerr.Connection, retry, wait},
		{"08004", pgerr.Refused, !retry, wait},
		{"08006", pgerr.Connection, retry, wait},
		{"08007", pgerr.CommitUnknown, !retry, !wait},
		{"08P01", pgerr.Statement, !retry, !wait},
		{"0A000", pgerr.Statement, !retry, !wait},
		{"09000", pgerr.Raised, !retry, !wait},
		{"0B000", pgerr.Statement, !retry, !wait},
		{"0LP01", pgerr.Permission, !retry, !wait},
		{"0P000", pgerr.Statement, !retry, !wait},
		{"0Z002", pgerr.Statement, !retry, !wait},
		{"27000", pgerr.Statement, !retry, !wait},
		{"36000", pgerr.Statement, !retry, !wait},
		{"72000", pgerr.Statement, !retry, !wait},
		{"HV000", pgerr.Internal, !retry, !wait},
		{"HV00N", pgerr.Internal, !retry, !wait},
		{"21000", pgerr.Data, !retry, !wait},
		{"22003", pgerr.Data, !retry, !wait},
		{"22P02", pgerr.Data, !retry, !wait},
		{"23502", pgerr.Constraint, !retry, !wait},
		{"23503", pgerr.Constraint, !retry, !wait},
		{"23505", pgerr.Constraint, !retry, !wait},
		{"23P01", pgerr.Constraint, !retry, !wait},
		{"25001", pgerr.Statement, !retry, !wait},
		{"25006", pgerr.ReadOnly, !retry, wait},
		{"25P02", pgerr.Statement, !retry, !wait},
		{"25P03", pgerr.Timeout, !retry, wait},
		{"25P04", pgerr.Timeout, !retry, wait},
		{"26000", pgerr.Statement, retry, !wait},
		{"28000", pgerr.Auth, !retry, !wait},
		{"28P01", pgerr.Auth, !retry, !wait},
		{"3D000", pgerr.Config, !retry, !wait},
		{"3F000", pgerr.Statement, !retry, !wait},
		{"40000", pgerr.Serialization, retry, !wait},
		{"40001", pgerr.Serialization, retry, !wait},
		{"40002", pgerr.Constraint, !retry, !wait},
		{"40003", pgerr.CommitUnknown, !retry, !wait},
		{"40P01", pgerr.Deadlock, retry, !wait},
		{"42501", pgerr.Permission, !retry, !wait},
		{"42601", pgerr.Statement, !retry, !wait},
		{"42704", pgerr.Statement, !retry, !wait},
		{"42P01", pgerr.Statement, !retry, !wait},
		{"42P05", pgerr.Statement, !retry, !wait},
		{"42P07", pgerr.Statement, !retry, !wait},
		{"44000", pgerr.Constraint, !retry, !wait},
		{"53100", pgerr.Resource, !retry, !wait},
		{"53200", pgerr.Resource, !retry, !wait},
		{"53300", pgerr.TooManyConnections, retry, wait},
		{"54001", pgerr.Statement, !retry, !wait},
		{"55006", pgerr.Statement, !retry, !wait},
		{"55P03", pgerr.LockTimeout, !retry, !wait},
		{"57000", pgerr.Canceled, !retry, !wait},
		{"57014", pgerr.Timeout, !retry, wait},
		{"57P01", pgerr.Shutdown, retry, wait},
		{"57P02", pgerr.Shutdown, retry, wait},
		{"57P03", pgerr.StartingUp, retry, wait},
		{"57P04", pgerr.Config, !retry, !wait},
		{"57P05", pgerr.Connection, retry, wait},
		{"58030", pgerr.Internal, !retry, !wait},
		{"F0000", pgerr.Internal, !retry, !wait},
		{"P0001", pgerr.Raised, !retry, !wait},
		{"P0002", pgerr.NotFound, !retry, !wait},
		{"XX000", pgerr.Internal, !retry, !wait},
		{"ZZ999", pgerr.Unknown, !retry, !wait},
		{"", pgerr.Unknown, !retry, !wait},
	} {
		t.Run(test.code, func(t *testing.T) {
			t.Parallel()
			check(t, fmt.Errorf("update: %w", &pgconn.PgError{Code: test.code, Severity: "ERROR"}), test.category,
				test.retry, test.wait)
		})
	}
}

// TestConnectingSQLState: while connecting there is no statement, so the server refuses a setting.
func TestConnectingSQLState(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		code     string
		category pgerr.Category
		wait     bool
	}{
		{"0A000", pgerr.Config, false}, // a protocol version, or RDS Proxy without command-line options
		{"22023", pgerr.Config, false},
		{"42501", pgerr.Permission, false},
		{"42601", pgerr.Config, false},
		{"42704", pgerr.Config, false},
		{"55000", pgerr.Config, false}, // template0 accepts no connections
		{"55P02", pgerr.Config, false},
		{"08P01", pgerr.Connection, false},
		{"28P01", pgerr.Auth, false},
		{"53300", pgerr.TooManyConnections, true},
		{"57P03", pgerr.StartingUp, true},
		{"XX000", pgerr.Internal, false},
	} {
		t.Run(test.code, func(t *testing.T) {
			t.Parallel()
			_, err := pgx.Connect(t.Context(), "postgres://u@"+serveConns(t, fail(test.code))+"/d?sslmode=disable")
			check(t, err, test.category, test.wait, test.wait)
		})
	}
}

// TestPooler: texts in the sources of PgBouncer, Supavisor, Neon and PgCat.
func TestPooler(t *testing.T) {
	t.Parallel()
	const retry, wait = true, true
	const pgBouncer, supavisor, neon, pgCat = "08P01", "XX000", "XX000", "58000"
	for _, test := range []struct {
		code     string
		message  string
		category pgerr.Category
		retry    bool
		wait     bool
	}{
		{pgBouncer, "server login has been failing, try again later (server_login_retry)", pgerr.Refused, retry, wait},
		{
			pgBouncer, "server login has been failing, cached error: connect failed (server_login_retry)",
			pgerr.Refused, retry, wait,
		},
		{
			pgBouncer, `server login has been failing, cached error: password authentication failed for user "u" ` +
				"(server_login_retry)", pgerr.Auth, !retry, !wait,
		},
		{
			pgBouncer, `server login has been failing, cached error: no pg_hba.conf entry for host "::1"`, pgerr.Auth,
			!retry, !wait,
		},
		{
			pgBouncer, `server login has been failing, cached error: role "u" does not exist`, pgerr.Auth,
			!retry, !wait,
		},
		{
			pgBouncer, `server login has been failing, cached error: database "d" does not exist`, pgerr.Config, !retry,
			!wait,
		},
		{
			pgBouncer, `server login has been failing, cached error: permission denied for database "d"`,
			pgerr.Permission, !retry, !wait,
		},
		{
			pgBouncer, "server login has been failing, cached error: the database system is starting up",
			pgerr.StartingUp, retry, wait,
		},
		{pgBouncer, "the database system is starting up", pgerr.StartingUp, retry, wait},
		{pgBouncer, "the database system is shutting down", pgerr.StartingUp, retry, wait},
		{pgBouncer, "sorry, too many clients already", pgerr.TooManyConnections, retry, wait},
		{pgBouncer, `too many connections for role "lim"`, pgerr.TooManyConnections, retry, wait},
		{pgBouncer, `too many connections for database "d"`, pgerr.TooManyConnections, retry, wait},
		{
			pgBouncer, "remaining connection slots are reserved for roles with the SUPERUSER attribute",
			pgerr.TooManyConnections, retry, wait,
		},
		{pgBouncer, `database "nodb" does not exist`, pgerr.Config, !retry, !wait},
		{pgBouncer, `database "d" is not currently accepting connections`, pgerr.Config, !retry, !wait},
		{pgBouncer, `database "ok" is disabled`, pgerr.Refused, retry, wait},
		{pgBouncer, "database removed", pgerr.Connection, retry, wait},
		{pgBouncer, `role "norole" does not exist`, pgerr.Auth, !retry, !wait},
		{pgBouncer, `role "r" is not permitted to log in`, pgerr.Auth, !retry, !wait},
		{pgBouncer, `no pg_hba.conf entry for host "::1", user "u", no encryption`, pgerr.Auth, !retry, !wait},
		{pgBouncer, `permission denied for database "d"`, pgerr.Permission, !retry, !wait},
		{pgBouncer, `unrecognized configuration parameter "x"`, pgerr.Config, !retry, !wait},
		{pgBouncer, "server DNS lookup failed", pgerr.Refused, retry, wait},
		{pgBouncer, "bouncer config error", pgerr.Config, !retry, !wait},
		{pgBouncer, "SET not allowed", pgerr.Statement, !retry, !wait},
		{pgBouncer, "DISCARD ALL not allowed", pgerr.Statement, !retry, !wait},
		{neon, "Couldn't connect to compute node", pgerr.Refused, retry, wait},
		{neon, "Control plane request failed", pgerr.Refused, retry, wait},
		{supavisor, "Failed to retrieve database credentials", pgerr.Refused, retry, wait},
		{supavisor, "Authentication error", pgerr.Auth, !retry, !wait},
		{supavisor, "Address not in tenant allow_list: {1, 2, 3, 4}", pgerr.Auth, !retry, !wait},
		{pgCat, "could not get connection from the pool - AllServersDown", pgerr.Saturated, !retry, wait},
		{pgBouncer, "server login failed: wrong password type", pgerr.Refused, retry, wait},
		{pgBouncer, "pgbouncer cannot connect to server", pgerr.Refused, retry, wait},
		{pgBouncer, "database is paused", pgerr.Refused, retry, wait},
		{pgBouncer, "no more connections allowed (max_client_conn)", pgerr.TooManyConnections, retry, wait},
		{pgBouncer, "query_wait_timeout", pgerr.Saturated, !retry, wait},
		{pgBouncer, "idle transaction timeout", pgerr.Timeout, !retry, wait},
		{pgBouncer, "transaction timeout", pgerr.Timeout, !retry, wait},
		{pgBouncer, "query timeout", pgerr.Timeout, !retry, wait},
		{pgBouncer, "query_timeout", pgerr.Timeout, !retry, wait},
		{pgBouncer, "client_login_timeout", pgerr.Timeout, !retry, wait},
		{pgBouncer, "client_idle_timeout", pgerr.Connection, retry, wait},
		{pgBouncer, "pgbouncer is shut down", pgerr.Shutdown, retry, wait},
		{pgBouncer, "pooler is shutting down", pgerr.Shutdown, retry, wait},
		{pgBouncer, "admin forced disconnect", pgerr.Shutdown, retry, wait},
		{pgBouncer, "server conn crashed?", pgerr.Connection, retry, wait},
		{pgBouncer, "server connection closed", pgerr.Connection, retry, wait},
		{pgBouncer, "no such user: nobody", pgerr.Auth, !retry, !wait},
		{pgBouncer, "password authentication failed", pgerr.Auth, !retry, !wait},
		{pgBouncer, "auth failed", pgerr.Auth, !retry, !wait},
		{pgBouncer, "login rejected", pgerr.Auth, !retry, !wait},
		{pgBouncer, "not allowed", pgerr.Auth, !retry, !wait},
		{pgBouncer, "SSL required", pgerr.TLS, !retry, !wait},
		{pgBouncer, "no such database: nothing", pgerr.Config, !retry, !wait},
		{pgBouncer, "unsupported startup parameter: statement_timeout", pgerr.Config, !retry, !wait},
		{pgBouncer, "unsupported startup parameter in options: work_mem", pgerr.Config, !retry, !wait},
		{
			pgBouncer, "unsupported options startup parameter: only '-c config=val' is allowed", pgerr.Config, !retry,
			!wait,
		},
		{pgBouncer, "prepared statement did not exist", pgerr.Statement, retry, !wait},
		{pgBouncer, "transaction blocks not allowed in statement pooling mode", pgerr.Statement, !retry, !wait},
		{pgBouncer, "bad packet", pgerr.Connection, !retry, !wait},

		{supavisor, "Max client connections reached", pgerr.TooManyConnections, retry, wait},
		{
			supavisor, "MaxClientsInSessionMode: max clients reached - in Session mode max clients are limited to " +
				"pool_size", pgerr.TooManyConnections, retry, wait,
		},
		{supavisor, "(EMAXCONN) max client connections reached, limit: 200", pgerr.TooManyConnections, retry, wait},
		{supavisor, "max proxy connections reached, limit: 20", pgerr.TooManyConnections, retry, wait},
		{supavisor, "max pools count reached", pgerr.TooManyConnections, retry, wait},
		{
			supavisor, "unable to check out connection from the pool after 60000ms in transaction mode",
			pgerr.Saturated, !retry, wait,
		},
		{supavisor, "failed to check out a connection after multiple retries", pgerr.Saturated, !retry, wait},
		{supavisor, "pool checkout failed: timeout", pgerr.Saturated, !retry, wait},
		{supavisor, "circuit breaker open for operation: db_connection", pgerr.Refused, retry, wait},
		{supavisor, "connection to database closed. Check logs for more information", pgerr.Connection, retry, wait},
		{supavisor, "DbHandler exited. Check logs for more information", pgerr.Connection, retry, wait},
		{supavisor, "Tenant or user not found", pgerr.Auth, !retry, !wait},
		{supavisor, "tenant/user postgres.abc not found", pgerr.Auth, !retry, !wait},
		{supavisor, "SSL connection is required for user: postgres", pgerr.TLS, !retry, !wait},
		{
			supavisor, "no tenant identifier provided (external_id or sni_hostname required)", pgerr.Config, !retry,
			!wait,
		},
		{
			supavisor, "transaction mode only supports prepared statements using the Extended Query Protocol",
			pgerr.Statement, !retry, !wait,
		},
		{supavisor, "something else", pgerr.Internal, !retry, !wait},

		{
			supavisor, "Endpoint ID is not specified. Either please upgrade the postgres client library", pgerr.Config,
			!retry, !wait,
		},
	} {
		t.Run(test.message, func(t *testing.T) {
			t.Parallel()
			check(t, &pgconn.PgError{Code: test.code, Severity: "FATAL", Message: test.message}, test.category,
				test.retry, test.wait)
		})
	}
}

// TestRoutine: the name of the routine distinguishes causes that share a code, in any language. For
// PostgreSQL's own errors, the message does not count where a user could have written it.
func TestRoutine(t *testing.T) {
	t.Parallel()
	const retry, wait = true, true
	for _, test := range []struct {
		name     string
		err      pgconn.PgError
		category pgerr.Category
		retry    bool
		wait     bool
	}{
		{
			"COPY, German",
			pgconn.PgError{
				Code: "57014", Severity: "FEHLER", Routine: "CopyGetData",
				Message: "COPY FROM STDIN fehlgeschlagen: x",
			},
			pgerr.Canceled, !retry, !wait,
		},
		{
			"COPY, relayed",
			pgconn.PgError{Code: "57014", Message: "COPY from stdin failed: x"},
			pgerr.Canceled,
			!retry, !wait,
		},
		{
			"cached plan, German",
			pgconn.PgError{
				Code: "0A000", Routine: "RevalidateCachedQuery",
				Message: "gecachter Plan darf den Ergebnistyp nicht ändern",
			},
			pgerr.Statement, retry, !wait,
		},
		{
			"cached plan, relayed",
			pgconn.PgError{Code: "0A000", Message: "cached plan must not change result type"},
			pgerr.Statement, retry, !wait,
		},
		{
			"result formats, German",
			pgconn.PgError{
				Code: "08P01", Routine: "PortalSetResultFormat",
				Message: "Bind-Message hat 3 Ergebnisspalten",
			},
			pgerr.Statement, retry, !wait,
		},
		{
			"result formats, relayed",
			pgconn.PgError{
				Code:    "08P01",
				Message: "bind message has 3 result formats but query has 4 columns",
			},
			pgerr.Statement, retry, !wait,
		},
		{
			"canceled, German",
			pgconn.PgError{
				Code: "57014", Routine: "ProcessInterrupts",
				Message: "storniere Anfrage wegen Benutzeraufforderung",
			},
			pgerr.Timeout, !retry, wait, // one routine, and no other difference than the text
		},
		{
			"fatal, German",
			pgconn.PgError{
				Code: "08P01", Severity: "FATAL", SeverityUnlocalized: "FATAL",
				Routine: "SocketBackend",
			},
			pgerr.Connection, !retry, !wait,
		},
		{
			"error, translated to a false friend",
			pgconn.PgError{
				Code: "08P01", Severity: "FATAL",
				SeverityUnlocalized: "ERROR", Routine: "pq_getmsgend",
			},
			pgerr.Statement, !retry, !wait,
		},
		{"panic", pgconn.PgError{Code: "08P01", Severity: "PANIC"}, pgerr.Connection, !retry, !wait},
		{
			"raised with a pooler's text",
			pgconn.PgError{
				Code: "XX000", Severity: "ERROR", Routine: "exec_stmt_raise",
				Message: "max client connections",
			},
			pgerr.Internal, !retry, !wait,
		},
		{
			"a pooler's text with another code", pgconn.PgError{
				Code: "23505", Severity: "ERROR",
				Message: "auth failed",
			}, pgerr.Constraint, !retry, !wait,
		},
		{
			"another code with a text about plans", pgconn.PgError{
				Code:    "42601",
				Message: "cached plan must not change result type",
			}, pgerr.Statement, !retry, !wait,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			check(t, &test.err, test.category, test.retry, test.wait)
		})
	}
}

// check asks all three questions.
func check(t *testing.T, err error, category pgerr.Category, retry, wait bool) {
	t.Helper()
	if got := pgerr.Of(err); got != category {
		t.Errorf("Of(%v) = %q, want %q", err, got, category)
	}
	if got := pgerr.Retryable(err); got != retry {
		t.Errorf("Retryable(%v) = %t, want %t", err, got, retry)
	}
	if got := pgerr.Startup(err); got != wait {
		t.Errorf("Startup(%v) = %t, want %t", err, got, wait)
	}
}
