package pgmigrate

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// SchemaVersion is what a health check wants to know.
type SchemaVersion struct {
	Current int32 // the database's version
	Latest  int32 // the folder's last version
	Dirty   bool  // a disable-tx section was interrupted
}

// SchemaVersion reads, on a connection of the caller's, where the database stands: mostly one round
// trip, plain SQL that leaves nothing behind and works through PgBouncer too. A role that may not
// read the history gets Dirty false. conn must be idle; it is not kept.
func (m *Migrator) SchemaVersion(ctx context.Context, conn *pgx.Conn) (SchemaVersion, error) {
	p, dirty, _, err := m.unfinished(ctx, conn)
	if err != nil {
		return SchemaVersion{}, err
	}
	return SchemaVersion{Current: p.version, Latest: m.folder.latest(), Dirty: dirty != nil}, nil
}
