package pgmigrate

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate/internal/index"
	"github.com/page-builder/persistence/pgmigrate/internal/session"
)

// failure builds the error for the current step and reads the state of the database.
func (r *run) failure(ctx context.Context, cause error) error {
	s := r.step
	cause = s.hidePassword(cause)
	e := &MigrationError{
		Version: s.migration.Version, Name: s.migration.Name, Direction: s.direction,
		State: StateRolledBack, Database: -1, Err: cause,
	}
	e.Line, e.Column = s.place(cause)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), session.CloseTimeout)
	defer cancel()
	r.step = nil
	conn := r.conn
	if !conn.IsClosed() {
		// The role and the limits may still be the section's. If this fails, so do the queries
		// below.
		_ = exec(ctx, conn.PgConn(), strings.Join(session.ResetSettings(conn), "; "))
	}
	if conn.IsClosed() {
		e.State = StateUnknown
		fresh, err := r.m.connectReadOnly(ctx)
		if err != nil {
			fresh = nil // Database stays -1
		} else {
			defer session.Close(ctx, fresh)
		}
		conn = fresh
	}
	if !s.transactional {
		e.State = StatePartlyApplied
		if s.sent {
			e.Statement = s.current
		}
		e.ConnectionLost = r.conn.IsClosed()
		e.Repeatable = !e.ConnectionLost && !errors.Is(cause, errTaken) &&
			(!s.sent || s.repeatable && s.resumable(s.current))
	}
	if conn == nil {
		return e
	}
	if p, err := r.m.readPosition(ctx, conn); err == nil {
		e.Database = p.version
	}
	if e.State == StatePartlyApplied {
		e.InvalidIndexes = index.ListInvalid(ctx, conn)
		if conn == r.conn && conn.PgConn().TxStatus() == 'I' && s.entry > 0 {
			// If this fails, the entry says that the section runs. Without a holder of the lock
			// that means the same.
			_, _ = conn.Exec(ctx,
				"update "+r.m.settings.historySchema+".history set progress = $1, repeatable = $2 where "+
					r.m.settings.entryKey(s.entry), pgx.QueryExecModeExec, string(ProgressFailed), e.Repeatable)
		}
	}
	return e
}
