package dial

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Limits are the names of the server's limits, in the order of Server.Limits.
var Limits = [3]string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"}

// Server has the server's answers about itself and about the session.
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

// RefusedSetting returns the name of the startup setting that PgBouncer did not take, or "".
func RefusedSetting(err error) string {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) || answer.Code != "08P01" {
		return ""
	}
	_, name, _ := strings.Cut(answer.Message, "unsupported startup parameter")
	return strings.Trim(strings.TrimPrefix(name, " in options"), ": \"")
}
