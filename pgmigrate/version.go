package pgmigrate

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// VersionError is returned when a run cannot start from, or arrive at, a version because the folder does not reach that far.
type VersionError struct {
	Target   int32 // the version asked for
	Database int32 // the version the database is at; meaningful only if Ahead
	Latest   int32 // the folder's last version
	Ahead    bool  // the database is ahead of the folder
}

func (e *VersionError) Error() string {
	if e.Ahead {
		return fmt.Sprintf("migrate to version %d: the database is at version %d, and the folder ends at %d: use the folder that it was migrated with",
			e.Target, e.Database, e.Latest)
	}
	return fmt.Sprintf("migrate to version %d: the folder has versions 0 to %d", e.Target, e.Latest)
}

// IrreversibleError is returned, before anything has been changed, when the way down leads over a migration without a down
// section.
type IrreversibleError struct {
	Version int32
	Name    string
}

func (e *IrreversibleError) Error() string {
	return fmt.Sprintf("migrate down: %s cannot be rolled back: it has no section below %q", e.Name, sectionMarker)
}

// readVersion reads the database's version by plain SQL: no lock, no write. It returns false if there is no version table
// yet. tern's own way to ask takes the migration lock and creates the table.
func (m *Migrator) readVersion(ctx context.Context, conn *pgx.Conn) (int32, bool, error) {
	var rows int64
	var lowest, highest *int32
	// One round trip, and nothing is left behind on the server. The name was checked by newSettings.
	err := conn.QueryRow(ctx, "select count(*), min(version), max(version) from "+m.settings.versionTable, pgx.QueryExecModeExec).
		Scan(&rows, &lowest, &highest)
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "42P01" {
		return 0, false, nil
	}
	switch {
	case err != nil:
		return 0, false, fmt.Errorf("read version table %s: %w", m.settings.versionTable, err)
	case rows == 0:
		return 0, false, fmt.Errorf("read version table %s: it is empty: insert the version the database is at", m.settings.versionTable)
	case *lowest != *highest:
		return 0, false, fmt.Errorf("read version table %s: it has %d rows with different versions: keep the true one", m.settings.versionTable, rows)
	case *lowest < 0:
		return 0, false, fmt.Errorf("read version table %s: version %d is not possible", m.settings.versionTable, *lowest)
	}
	return *lowest, true, nil
}
