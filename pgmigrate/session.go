package pgmigrate

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgmigrate/internal/readonly"
	"github.com/page-builder/persistence/pgmigrate/internal/session"
)

// ErrPooled is wrapped by errors of a connection that leads to a pooler such as PgBouncer. A pooler
// may serve each transaction from another session, so the migration lock and the lock timeout would
// be missing in the next one.
var ErrPooled = session.ErrPooled

// connConfig returns the configuration of a migration's session. See session.ResetSettings for
// transaction_timeout.
func (m *Migrator) connConfig() *pgx.ConnConfig {
	return session.Config(m.conn, map[string]string{
		"lock_timeout":                        strconv.FormatInt(m.settings.lockTimeout.Milliseconds(), 10),
		"statement_timeout":                   strconv.FormatInt(m.settings.statementTimeout.Milliseconds(), 10),
		"idle_in_transaction_session_timeout": "0",
	})
}

// connect opens the connection of a run.
func (m *Migrator) connect(ctx context.Context) (*pgx.Conn, error) {
	return session.Open(ctx, m.connConfig())
}

// connectReadOnly opens a connection that cannot write.
func (m *Migrator) connectReadOnly(ctx context.Context) (*pgx.Conn, error) {
	cfg := m.connConfig()
	readonly.Session(cfg)
	return session.Open(ctx, cfg)
}

// restoreEncoding undoes a client_encoding that a section has set. The server decodes a whole
// message before it runs the first of its statements, so this one travels alone.
func restoreEncoding(ctx context.Context, conn *pgconn.PgConn) error {
	if conn.ParameterStatus("client_encoding") == "UTF8" {
		return nil
	}
	return exec(ctx, conn, "reset client_encoding")
}

// resetSession undoes what a file has left in the session, so that the next one does not see it. It
// waits for the migration lock if the file has released it. The session must be idle.
func (r *run) resetSession(ctx context.Context) error {
	for {
		sql := strings.Join(append(session.ResetSettings(r.conn), session.DiscardSQL, session.LocksSQL), "; ")
		results, err := r.conn.PgConn().Exec(ctx, sql).ReadAll()
		if err != nil {
			return fmt.Errorf("reset the session: %w", err)
		}
		held, others, err := session.ReadLocks(results[len(results)-1].Rows, migrationLock)
		if err == nil && others != "" {
			// A lock that was taken several times is listed once, and comes up again.
			err = exec(ctx, r.conn.PgConn(), others)
		}
		switch {
		case err != nil:
			return fmt.Errorf("reset the session: %w", err)
		case others != "":
		case held:
			return nil
		default:
			return r.lock(ctx)
		}
	}
}
