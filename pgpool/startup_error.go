package pgpool

import (
	"errors"
	"fmt"
	"time"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool/internal/dial"
)

// StartupError is returned by [Connect], [ConnectConfig] and [Default] if they cannot reach the
// database.
type StartupError struct {
	// Attempts counts the connects that were tried. It is 0 if ctx had ended before.
	Attempts int
	// Elapsed is the time that all of them took.
	Elapsed time.Duration
	// Err is the last error that says something about the database. It is nil if there was no
	// attempt.
	Err error
	// Ended is set if there was no more time: the context's cause, or the start-up timeout, which
	// wraps [context.DeadlineExceeded]. It is nil if waiting could not have helped.
	Ended error
}

func (e *StartupError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("connect: %v before the first attempt", e.Ended)
	}
	text := "connect: " + dial.OneLine.Replace(e.Err.Error())
	if e.Ended != nil {
		noun := "attempts"
		if e.Attempts == 1 {
			noun = "attempt"
		}
		text += fmt.Sprintf(" (gave up after %d %s in %s: %v)", e.Attempts, noun,
			e.Elapsed.Round(time.Millisecond), e.Ended)
	}
	if hint := e.Hint(); hint != "" {
		text += ": " + hint
	}
	return text
}

// Unwrap returns Err and Ended, as far as they are set.
func (e *StartupError) Unwrap() error { return errors.Join(e.Err, e.Ended) }

// Category is the category of Err, not of the timeout that ended the attempts.
func (e *StartupError) Category() pgerr.Category {
	if e.Err != nil {
		return pgerr.Of(e.Err)
	}
	return pgerr.Of(e.Ended)
}

// Hint says what to do about it, or is empty.
func (e *StartupError) Hint() string {
	if name := dial.RefusedSetting(e.Err); name != "" {
		return "PgBouncer does not take the setting " + name +
			": set DATABASE_PGBOUNCER=true, take it out of the connection string, " +
			"and set it on the role (ALTER ROLE … SET …)"
	}
	switch e.Category() {
	case pgerr.Auth:
		return "check user and password of the connection string (DATABASE_URL), and the server's pg_hba.conf"
	case pgerr.Permission:
		return "grant the role CONNECT on the database"
	case pgerr.Config:
		return "check the database name and the parameters of the connection string (DATABASE_URL); a missing " +
			"database has to be created first"
	case pgerr.DNS:
		return "check the host name of the connection string (DATABASE_URL)"
	case pgerr.Refused:
		return "check that PostgreSQL runs at that host and port and may be reached from here"
	case pgerr.TLS:
		return "check sslmode and sslrootcert, and that the certificate names the host"
	case pgerr.StartingUp, pgerr.Shutdown:
		return "the server is there but takes no connections yet: look at its log, or allow more time " +
			"(DATABASE_STARTUP_TIMEOUT)"
	case pgerr.TooManyConnections:
		return "all connection slots are taken: lower DATABASE_POOL_MAX_CONNS of the services that share the " +
			"server, or raise max_connections"
	case pgerr.WrongServer, pgerr.ReadOnly:
		return "no host has the role that target_session_attrs asks for: check the hosts, or wait for the " +
			"failover to end"
	case pgerr.Timeout, pgerr.Connection:
		return "the address does not answer as PostgreSQL does: check host, port and firewall, and that it is not " +
			"an HTTP or TLS-only port"
	}
	return ""
}
