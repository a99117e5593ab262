// Package session opens the sessions of migrations and backfills.
package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// CloseTimeout bounds what is done on the way out, after the caller's context has ended:
	// unlock, close, read the version.
	CloseTimeout = 5 * time.Second

	// clientCheck is how often the server looks, during a statement, whether its client is still
	// there. Without it the backend of a killed process keeps running, and keeps its locks, until
	// its statement ends.
	clientCheck = "client_connection_check_interval"
)

// ErrPooled is pgmigrate.ErrPooled.
var ErrPooled = errors.New("this is a connection pooler such as PgBouncer: migrations need the direct address of " +
	"the server")

// Config returns a copy of the caller's configuration with params, and with settings that keep the
// limits of the role, made for the application's queries, from reaching the session. They travel as
// startup parameters: RESET ALL returns to these.
func Config(base *pgx.ConnConfig, params map[string]string) *pgx.ConnConfig {
	cfg := base.Copy()
	own := map[string]string{clientCheck: "2s"}
	maps.Copy(own, cfg.RuntimeParams)
	own["application_name"] = cmp.Or(own["application_name"], "pgmigrate")
	maps.Copy(own, map[string]string{
		"idle_session_timeout":          "0",
		"default_transaction_read_only": "off",
		// Waiting for a row must end with its new value, not with a serialization failure.
		"default_transaction_isolation": "read committed",
		// A file means the same on every server.
		"standard_conforming_strings": "on",
		"client_encoding":             "UTF8",
		// The lock of a node that has vanished must not outlive it by hours.
		"tcp_keepalives_idle":     "30",
		"tcp_keepalives_interval": "10",
		"tcp_keepalives_count":    "3",
	})
	maps.Copy(own, params)
	cfg.RuntimeParams = own
	return cfg
}

// Open connects. The error wraps [ErrPooled] where a pooler refuses the settings.
func Open(ctx context.Context, cfg *pgx.ConnConfig) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && strings.Contains(pgErr.Message, clientCheck) {
		switch pgErr.Code {
		// Unknown before PostgreSQL 14; refused where the platform cannot tell (Windows, some
		// BSDs).
		case "42704", "22023":
			delete(cfg.RuntimeParams, clientCheck)
			conn, err = pgx.ConnectConfig(ctx, cfg)
		}
	}
	if errors.As(err, &pgErr) && pgErr.Code == "08P01" && strings.Contains(pgErr.Message, "startup parameter") {
		return nil, fmt.Errorf("connect: %w: %w", ErrPooled, err)
	}
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn, nil
}

// Close closes conn whatever has become of ctx, and waits until the connection's own goroutines are
// gone.
func Close(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), CloseTimeout)
	defer cancel()
	// A failed close leaves nothing to do: the server notices the missing client.
	_ = conn.Close(ctx)
	// A canceled statement makes pgx send a cancel request in the background.
	select {
	case <-conn.PgConn().CleanupDone():
	case <-ctx.Done():
	}
}

// Unlock releases all advisory locks of the session, so that the next instance starts at once
// instead of when the server has noticed the end of this session. It also does so after ctx has
// ended. If it fails, the end of the session releases the locks.
func Unlock(ctx context.Context, conn *pgx.Conn) {
	if conn.IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), CloseTimeout)
	defer cancel()
	_, _ = conn.Exec(ctx, "select pg_catalog.pg_advisory_unlock_all()")
}

// ClientName is who runs this process, as far as the system knows.
func ClientName() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return name + "@" + host
}
