package pgmigrate

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// SchemaVersion reads where the database stands, for a health check: current is the version of the
// database, needed the last version of the folder, and dirty reports a disable-tx section that was
// interrupted. A Migrator fits pghealth's Options.Schema.
//
// It runs on conn, which must be idle and is not kept: mostly one round trip of plain SQL that
// leaves nothing behind and works through PgBouncer. A role that may not read the history gets
// dirty false.
func (m *Migrator) SchemaVersion(ctx context.Context, conn *pgx.Conn) (current, needed int64, dirty bool, err error) {
	p, unfinished, _, err := m.unfinished(ctx, conn)
	if err != nil {
		return 0, 0, false, err
	}
	return int64(p.version), int64(m.folder.latest()), unfinished != nil, nil
}
