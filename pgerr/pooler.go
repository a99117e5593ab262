package pgerr

import (
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Poolers have few codes for many causes: PgBouncer sends 08P01, Supavisor and Neon XX000, and
// PgCat 58000 for nearly everything that goes wrong on their side. They do not translate their
// messages.
//
// The texts come from the sources of PgBouncer 1.7 to 1.25, Supavisor, Neon and PgCat, in lower
// case. The first one that the message contains decides.
var poolerMessages = []struct {
	text    string
	verdict verdict
}{
	{"prepared statement did not exist", verdict{Statement, yes, no}},
	{"transaction blocks not allowed", verdict{Statement, no, no}},
	{"only supports prepared statements", verdict{Statement, no, no}},

	// When the server refuses PgBouncer's login, PgBouncer passes the message on with its own code.
	// It repeats the message as the "cached error" of later logins.
	{"the database system is ", verdict{StartingUp, yes, yes}},
	{"too many clients already", verdict{TooManyConnections, yes, yes}},
	{"too many connections for ", verdict{TooManyConnections, yes, yes}},
	{"remaining connection slots are reserved", verdict{TooManyConnections, yes, yes}},
	{"password authentication failed", verdict{Auth, no, no}},
	{"pg_hba.conf", verdict{Auth, no, no}},
	{"permission denied", verdict{Permission, no, no}},
	{`role "`, verdict{Auth, no, no}},
	{`" is disabled`, verdict{Refused, yes, yes}}, // by PgBouncer's DISABLE
	{`database "`, verdict{Config, no, no}},
	{`parameter "`, verdict{Config, no, no}},
	{"server login has been failing", verdict{Refused, yes, yes}},
	{"server login failed", verdict{Refused, yes, yes}},
	{"cannot connect to server", verdict{Refused, yes, yes}},
	{"database is paused", verdict{Refused, yes, yes}},
	{"circuit breaker open", verdict{Refused, yes, yes}},
	{"server dns lookup failed", verdict{Refused, yes, yes}},
	{"couldn't connect to compute node", verdict{Refused, yes, yes}}, // Neon wakes it up
	{"control plane request failed", verdict{Refused, yes, yes}},
	{"failed to retrieve database credentials", verdict{Refused, yes, yes}},

	{"no more connections allowed", verdict{TooManyConnections, yes, yes}},
	{"max client", verdict{TooManyConnections, yes, yes}},
	{"max proxy connections", verdict{TooManyConnections, yes, yes}},
	{"max pools count", verdict{TooManyConnections, yes, yes}},

	{"query_wait_timeout", verdict{Saturated, no, yes}},
	{"unable to check out", verdict{Saturated, no, yes}},
	{"failed to check out", verdict{Saturated, no, yes}},
	{"pool checkout failed", verdict{Saturated, no, yes}},
	{"could not get connection from the pool", verdict{Saturated, no, yes}}, // PgCat

	{"idle transaction timeout", verdict{Timeout, no, yes}},
	{"transaction timeout", verdict{Timeout, no, yes}},
	{"query timeout", verdict{Timeout, no, yes}},
	{"query_timeout", verdict{Timeout, no, yes}},
	{"login_timeout", verdict{Timeout, no, yes}},

	{"pgbouncer is shut", verdict{Shutdown, yes, yes}},
	{"shutting down", verdict{Shutdown, yes, yes}},
	{"admin forced disconnect", verdict{Shutdown, yes, yes}},
	{"server conn crashed", verdict{Connection, yes, yes}},
	{"server connection closed", verdict{Connection, yes, yes}},
	{"database removed", verdict{Connection, yes, yes}}, // by PgBouncer's KILL
	{"connection to database closed", verdict{Connection, yes, yes}},
	{"dbhandler exited", verdict{Connection, yes, yes}},
	{"client_idle_timeout", verdict{Connection, yes, yes}}, // no transaction was running

	{"authentication failed", verdict{Auth, no, no}},
	{"auth failed", verdict{Auth, no, no}},
	{"no such user", verdict{Auth, no, no}},
	{"login rejected", verdict{Auth, no, no}},
	{"set not allowed", verdict{Statement, no, no}},
	{"all not allowed", verdict{Statement, no, no}}, // DISCARD ALL, RESET ALL
	{"not allowed", verdict{Auth, no, no}},
	{"not in tenant allow_list", verdict{Auth, no, no}},
	{"authentication error", verdict{Auth, no, no}},
	{"tenant or user not found", verdict{Auth, no, no}},
	{"tenant/user ", verdict{Auth, no, no}},
	{"ssl required", verdict{TLS, no, no}},
	{"ssl connection is required", verdict{TLS, no, no}},

	{"no such database", verdict{Config, no, no}},
	{"bouncer config error", verdict{Config, no, no}},
	{"unsupported startup", verdict{Config, no, no}},
	{"unsupported options startup", verdict{Config, no, no}},
	{"no tenant identifier", verdict{Config, no, no}},
	{"endpoint id is not specified", verdict{Config, no, no}},
}

// judgePooler judges the error of a pooler by its message. PostgreSQL names the routine that
// reports an error; a pooler has none.
func judgePooler(err *pgconn.PgError) (verdict, bool) {
	if err.Routine != "" || err.Code != "08P01" && err.Code != "XX000" && err.Code != "58000" {
		return verdict{}, false
	}
	message := strings.ToLower(err.Message)
	for _, m := range poolerMessages {
		if strings.Contains(message, m.text) {
			return m.verdict, true
		}
	}
	return verdict{}, false
}
