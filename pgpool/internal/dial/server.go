package dial

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Limits are the names of the server's limits, in the order of Server.Limits.
var Limits = [3]string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"}

// Server is what the server says about itself and about the session.
type Server struct {
	// Pooled says that another backend answers than the one that the login named. PgBouncer or
	// something like it is in between.
	Pooled  bool
	Standby bool
	Version string
	// Limits are the session's limits. 0 means that there is none.
	Limits [3]time.Duration
	// Verified is false if the server did not tell its limits.
	Verified bool
}

const serverSQL = `select pg_backend_pid(), pg_is_in_recovery(), current_setting('server_version'),
	(select setting from pg_settings where name = 'statement_timeout'),
	(select setting from pg_settings where name = 'lock_timeout'),
	(select setting from pg_settings where name = 'idle_in_transaction_session_timeout')`

// Ask asks the server in one round trip. It uses a simple query, which needs no prepared statement,
// because PgBouncer may be in between.
func Ask(ctx context.Context, conn *pgx.Conn) (*Server, error) {
	results, err := conn.PgConn().Exec(ctx, serverSQL).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 6 {
		return &Server{}, nil
	}
	row := results[0].Rows[0]
	server := &Server{Standby: string(row[1]) == "t", Version: string(row[2]), Verified: true}
	pid, err := strconv.ParseUint(string(row[0]), 10, 32)
	server.Pooled = err == nil && uint32(pid) != conn.PgConn().PID()
	for i := range server.Limits {
		ms, err := strconv.ParseInt(string(row[3+i]), 10, 64)
		server.Limits[i], server.Verified = time.Duration(ms)*time.Millisecond, server.Verified && err == nil
	}
	return server, nil
}

// roleLimitsSQL returns the limits that are set for the session's role and database, the one in
// effect first.
const roleLimitsSQL = `select split_part(c, '=', 1), split_part(c, '=', 2)
	from pg_db_role_setting s, unnest(s.setconfig) c
	where s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
	and s.setrole in (0, (select oid from pg_roles where rolname = session_user))
	order by s.setrole = 0, s.setdatabase = 0`

// RoleLimits returns the limits that ALTER ROLE and ALTER DATABASE set for the session. 0 means
// that there is none, or that the server does not tell.
func RoleLimits(ctx context.Context, conn *pgx.Conn) (limits [3]time.Duration) {
	results, err := conn.PgConn().Exec(ctx, roleLimitsSQL).ReadAll()
	if err != nil || len(results) != 1 {
		return limits
	}
	var known [3]bool
	for _, row := range results[0].Rows {
		i := slices.Index(Limits[:], string(row[0]))
		if i < 0 || known[i] {
			continue
		}
		known[i], limits[i] = true, parseLimit(string(row[1]))
	}
	return limits
}

// parseLimit reads a setting as the server does: milliseconds unless it has a unit.
func parseLimit(text string) time.Duration {
	text = strings.TrimSpace(text)
	end := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	unit := ""
	if end >= 0 {
		text, unit = text[:end], strings.TrimSpace(text[end:])
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0
	}
	scale := map[string]time.Duration{
		"": time.Millisecond, "us": time.Microsecond, "ms": time.Millisecond, "s": time.Second,
		"min": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
	}[unit]
	return time.Duration(n * float64(scale))
}
