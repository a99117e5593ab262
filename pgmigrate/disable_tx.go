package pgmigrate

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// begin prepares a disable-tx section: from here on an interruption must be visible.
func (r *run) begin(ctx context.Context, s *step) error {
	// A concurrent build that gave up waiting would leave an invalid index. tern's "reset all"
	// brings the limit back.
	if _, err := r.conn.Exec(ctx, "set lock_timeout = 0"); err != nil {
		return fmt.Errorf("switch lock_timeout off: %w", err)
	}
	var err error
	if s.entry, err = r.begun(ctx, &s.migration.Migration, s.direction); err != nil {
		return err
	}
	s.idempotent = true
	return nil
}

// note brings the entry of a disable-tx section up to date before its next statement.
func (r *run) note(ctx context.Context, s *step, sql string, line int) error {
	if s.statements > 1 {
		s.idempotent = s.idempotent && s.current.idempotent
	}
	s.current, s.index, s.ended = statementClass{}, "", false
	if r.conn.PgConn().TxStatus() != 'I' {
		return nil // inside a transaction of the section's own, which would undo the note
	}
	s.current = classify(sql)
	if s.current.index != "" {
		var err error
		if s.index, err = s.current.qualified(ctx, r.conn); err != nil {
			return err
		}
	}
	if s.index != "" && s.current.builds() {
		if err := r.dropInvalid(ctx, s.index); err != nil {
			return err
		}
	}
	var index *string
	if s.index != "" && !s.current.idempotent {
		index = &s.index
	}
	_, err := r.conn.Exec(ctx, "update "+r.m.settings.historySchema+`.history
set statement = $2, line = $3, repeatable = $4, index_name = $5, drops_index = $6 where id = $1`, pgx.QueryExecModeExec,
		s.entry, s.statements, line,
		s.idempotent && (s.current.idempotent || s.index != ""), index, s.current.drops)
	if err != nil {
		return fmt.Errorf("record statement %d of %s in the history: %w", s.statements, s.migration.Name, err)
	}
	return nil
}
