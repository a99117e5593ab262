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
	// CloseTimeout limits the cleanup after the caller's context has ended: unlock, close, read the
	// version.
	CloseTimeout = 5 * time.Second

	// clientCheck makes the server look for its client during a statement. Without it the backend
	// of a killed process runs, and keeps its locks, until the statement ends.
	clientCheck = "client_connection_check_interval"
)

// ErrPooled is pgmigrate.ErrPooled.
var ErrPooled = errors.New("this is a connection pooler such as PgBouncer: migrations need the direct address of " +
	"the server")

// Config returns a copy of the caller's configuration with params, and with settings that override
// the role's limits, which are made for the application's queries. They travel as startup
// parameters: RESET ALL returns to these.
func Config(base *pgx.ConnConfig, params map[string]string) *pgx.ConnConfig {
	cfg := base.Copy()
	own := map[string]string{clientCheck: "2s"}
	maps.Copy(own, cfg.RuntimeParams)
	own["application_name"] = cmp.Or(own["application_name"], "pgmigrate")
	maps.Copy(own, map[string]string{
		"idle_session_timeout":          "0",
		"default_transaction_read_only": "off",
		// A wait for a row must end with its new value, not with a serialization failure.
		"default_transaction_isolation": "read committed",
		// A file means the same on every server.
		"standard_conforming_strings": "on",
		"client_encoding":             "UTF8",
		// The lock of a lost node must not outlive it by hours.
		"tcp_keepalives_idle":     "30",
		"tcp_keepalives_interval": "10",
		"tcp_keepalives_count":    "3",
	})
	maps.Copy(own, params)
	cfg.RuntimeParams = own
	return cfg
}

// Open connects. The error wraps [ErrPooled] if a pooler refuses the settings.
func Open(ctx context.Context, cfg *pgx.ConnConfig) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && strings.Contains(pgErr.Message, clientCheck) {
		switch pgErr.Code {
		// Unknown before PostgreSQL 14; refused on platforms that cannot tell (Windows, some BSDs).
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

// Close closes conn, even if ctx has ended, and waits until the connection's goroutines are gone.
func Close(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), CloseTimeout)
	defer cancel()
	// If the close fails, the server notices the missing client.
	_ = conn.Close(ctx)
	// pgx sends the cancel request for a canceled statement in the background.
	select {
	case <-conn.PgConn().CleanupDone():
	case <-ctx.Done():
	}
}

// Unlock releases all advisory locks of the session, even if ctx has ended, so that the next
// instance need not wait until the server notices the end of the session. If it fails, that end
// releases them.
func Unlock(ctx context.Context, conn *pgx.Conn) {
	if conn.IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), CloseTimeout)
	defer cancel()
	_, _ = conn.Exec(ctx, "select pg_catalog.pg_advisory_unlock_all()")
}

// ClientName returns user@host of this process.
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
