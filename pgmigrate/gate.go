package pgmigrate

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate/internal/gate"
)

// BackfillError is returned when the next migration requires a backfill that is not done. The
// migrations before it stay applied. See the package backfill.
type BackfillError struct {
	Version  int32  // the migration that requires it
	Name     string // its file
	Backfill string
	State    string // of the backfill, such as started or failed; "pending" if it never began
}

func (e *BackfillError) Error() string {
	return fmt.Sprintf("migrate up: %s requires the backfill %s, which is %s: run it to its end, then migrate again",
		e.Name, e.Backfill, e.State)
}

// checkBackfills returns a *BackfillError unless all backfills that the step requires are done.
func (r *run) checkBackfills(ctx context.Context, s *step) error {
	if s.direction != DirectionUp || r.m.settings.withoutBackfills {
		return nil
	}
	schema := r.m.settings.historySchema
	for _, name := range s.migration.RequiredBackfills() {
		var state string
		err := r.conn.QueryRow(ctx, "select case when "+gate.Undone(schema)+" then 'pending' else b.state end from "+
			schema+".backfill b where b.version_table = $1 and b.name = $2", pgx.QueryExecModeExec,
			r.m.settings.versionTable, name).Scan(&state)
		switch {
		case errors.Is(err, pgx.ErrNoRows), undefinedTable(err):
			state = "pending"
		case err != nil:
			return fmt.Errorf("migrate up: %s: look for the backfill %s: %w", s.migration.Name, name, err)
		}
		if state != gate.Done {
			return &BackfillError{
				Version: s.migration.Version, Name: s.migration.Name, Backfill: name, State: state,
			}
		}
	}
	return nil
}
