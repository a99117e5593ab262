package pgmigrate

import (
	"context"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate/internal/readonly"
	"github.com/page-builder/persistence/pgmigrate/internal/session"
)

// connConfig returns the configuration of a migration's session. See resetSettings for
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

// connectReadOnly opens a connection that cannot write, for Status, Plan and History.
func (m *Migrator) connectReadOnly(ctx context.Context) (*pgx.Conn, error) {
	cfg := m.connConfig()
	readonly.Session(cfg)
	return session.Open(ctx, cfg)
}

// ErrPooled is wrapped by errors of a connection that leads to a pooler such as PgBouncer. It would
// give each transaction another session: the migration lock and the lock timeout would be taken in
// one and missing in the next.
var ErrPooled = session.ErrPooled
