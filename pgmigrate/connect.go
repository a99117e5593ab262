package pgmigrate

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgmigrate/internal/readonly"
)

const (
	// closeTimeout bounds what is done on the way out, after the caller's context has ended:
	// unlock, close, read the version.
	closeTimeout = 5 * time.Second

	// clientCheck is how often the server looks, during a statement, whether its client is still
	// there. Without it the backend of a killed process keeps running, and keeps the migration
	// lock, until its statement ends.
	clientCheck = "client_connection_check_interval"
)

// connConfig returns a copy of the caller's configuration with the session defaults of a migration.
// They travel as startup parameters: RESET ALL, which follows every migration, returns to these.
func (m *Migrator) connConfig() *pgx.ConnConfig {
	cfg := m.conn.Copy()
	if cfg.RuntimeParams == nil {
		cfg.RuntimeParams = map[string]string{}
	}
	cfg.RuntimeParams["lock_timeout"] = strconv.FormatInt(m.settings.lockTimeout.Milliseconds(), 10)
	// The caller's own, made for the application's queries, would cut a long migration short.
	cfg.RuntimeParams["statement_timeout"] = strconv.FormatInt(m.settings.statementTimeout.Milliseconds(), 10)
	// So would the role's. See resetSettings for transaction_timeout.
	for _, name := range []string{"idle_session_timeout", "idle_in_transaction_session_timeout"} {
		cfg.RuntimeParams[name] = "0"
	}
	cfg.RuntimeParams["default_transaction_read_only"] = "off"
	// A file means the same on every server. Waiting for the version's row must end with its new
	// value, not with a serialization failure.
	cfg.RuntimeParams["standard_conforming_strings"] = "on"
	cfg.RuntimeParams["client_encoding"] = "UTF8"
	cfg.RuntimeParams["default_transaction_isolation"] = "read committed"
	// The lock of a node that has vanished must not outlive it by hours.
	cfg.RuntimeParams["tcp_keepalives_idle"] = "30"
	cfg.RuntimeParams["tcp_keepalives_interval"] = "10"
	cfg.RuntimeParams["tcp_keepalives_count"] = "3"
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "pgmigrate"
	}
	if _, ok := cfg.RuntimeParams[clientCheck]; !ok {
		cfg.RuntimeParams[clientCheck] = "2s"
	}
	return cfg
}

// connect opens the connection of a run.
func (m *Migrator) connect(ctx context.Context) (*pgx.Conn, error) {
	return m.open(ctx, m.connConfig())
}

// connectReadOnly opens a connection that cannot write, for Status, Plan and History.
func (m *Migrator) connectReadOnly(ctx context.Context) (*pgx.Conn, error) {
	cfg := m.connConfig()
	readonly.Session(cfg)
	return m.open(ctx, cfg)
}

func (m *Migrator) open(ctx context.Context, cfg *pgx.ConnConfig) (*pgx.Conn, error) {
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

// ErrPooled is wrapped by errors of a connection that leads to a pooler such as PgBouncer. It would
// give each transaction another session: the migration lock and the lock timeout would be taken in
// one and missing in the next.
var ErrPooled = errors.New("this is a connection pooler such as PgBouncer: migrations need the direct address of " +
	"the server")

// disconnect closes conn whatever has become of ctx, and waits until the connection's own
// goroutines are gone.
func disconnect(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	// A failed close leaves nothing to do: the server notices the missing client.
	_ = conn.Close(ctx)
	// A canceled statement makes pgx send a cancel request in the background.
	select {
	case <-conn.PgConn().CleanupDone():
	case <-ctx.Done():
	}
}
