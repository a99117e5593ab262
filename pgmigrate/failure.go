package pgmigrate

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate/internal/session"
)

// failure builds the error for the current step, and finds out what the database was left in.
func (r *run) failure(ctx context.Context, cause error) error {
	s := r.step
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
		// The section's role and limits are not ours. If this fails, the questions below do too.
		_ = exec(ctx, conn.PgConn(), strings.Join(resetSettings(conn), "; "))
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
		e.InvalidIndexes = invalidIndexes(ctx, conn)
		if conn == r.conn && conn.PgConn().TxStatus() == 'I' && s.entry > 0 {
			// If this fails the entry says that the section runs; without an instance that holds
			// the lock that means the same.
			_, _ = conn.Exec(ctx,
				"update "+r.m.settings.historySchema+".history set progress = $1, repeatable = $2 where "+
					r.m.settings.entryKey(s.entry), pgx.QueryExecModeExec, string(ProgressFailed), e.Repeatable)
		}
	}
	return e
}
