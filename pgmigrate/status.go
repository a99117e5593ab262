package pgmigrate

import "context"

// Status is where a database stands against the folder.
type Status struct {
	Version    int32 // the database's version; 0 also if there is no version table yet
	Latest     int32 // the folder's last version
	Tracked    bool  // there is a version table
	Migrations []MigrationStatus
}

// MigrationStatus is one migration of the folder in a [Status].
type MigrationStatus struct {
	Migration
	Applied bool
}

// Pending returns how many migrations Up would apply.
func (s Status) Pending() int { return int(max(s.Latest-s.Version, 0)) }

// Ahead reports whether the database is ahead of the folder, as during a deployment that this binary is older than.
func (s Status) Ahead() bool { return s.Version > s.Latest }

// Status reads where the database stands. It takes no migration lock and cannot write: its session is read-only, so that a
// standby answers too. It does not wait for a migration that is running.
func (m *Migrator) Status(ctx context.Context) (Status, error) {
	conn, err := m.connectReadOnly(ctx)
	if err != nil {
		return Status{}, err
	}
	defer disconnect(ctx, conn)
	version, tracked, err := m.readVersion(ctx, conn)
	if err != nil {
		return Status{}, err
	}
	s := Status{Version: version, Latest: m.folder.latest(), Tracked: tracked}
	for _, mig := range m.folder.list() {
		s.Migrations = append(s.Migrations, MigrationStatus{Migration: mig, Applied: mig.Version <= version})
	}
	return s, nil
}
