package pgmigrate

import (
	"context"
	"time"

	"github.com/page-builder/persistence/pgmigrate/internal/session"
)

// Status is where a database stands against the folder.
type Status struct {
	Version    int32 // the database's version; 0 also if there is no version table yet
	Latest     int32 // the folder's last version
	Tracked    bool  // there is a version table
	Migrations []MigrationStatus

	// The section that was interrupted, if any; the next run continues it or returns a
	// *[DirtyError].
	Dirty *Unfinished
	// The section that another instance is working on, if any; on a standby also one that was
	// interrupted.
	Running *Unfinished

	Repeatable []Repeatable

	edited error // of Up
}

// MigrationStatus is one migration of the folder in a [Status]. What follows Applied is empty
// unless this package applied the migration and the role may read the history.
type MigrationStatus struct {
	Migration
	Applied   bool
	AppliedAt time.Time
	Role      string        // the session's user in the database
	Client    string        // user@host of the process
	Duration  time.Duration // 0 also if nothing was run, as by [Migrator.Baseline]
	Action    Action        // how it came to be applied
	Recorded  string        // the checksum that was recorded
	Edited    bool          // Recorded is no longer the file's [Migration.Checksum]
}

// Pending returns how many migrations Up would apply.
func (s Status) Pending() int { return int(max(s.Latest-s.Version, 0)) }

// Ahead reports whether the database is ahead of the folder, as during a deployment that this
// binary is older than.
func (s Status) Ahead() bool { return s.Version > s.Latest }

// Status reads where the database stands. It takes no migration lock and cannot write: its session
// is read-only, so that a standby answers too. It does not wait for a migration that is running.
// Without a history, or without the right to read it, it says what the version table says.
func (m *Migrator) Status(ctx context.Context) (Status, error) {
	conn, err := m.connectReadOnly(ctx)
	if err != nil {
		return Status{}, err
	}
	defer session.Close(ctx, conn)
	p, dirty, running, err := m.unfinished(ctx, conn)
	if err != nil {
		return Status{}, err
	}
	s := Status{
		Version: p.version, Latest: m.folder.latest(), Tracked: p.tracked, Dirty: dirty, Running: running,
		edited:     m.edited(p, p.version),
		Repeatable: m.folder.listRepeatable(p.repeated),
	}
	entries := map[int64]Entry{}
	if p.recorded {
		history, err := m.history(ctx, conn)
		if err != nil {
			return Status{}, err
		}
		for _, e := range history {
			entries[e.ID] = e
		}
	}
	if p.hidden {
		m.settings.logger.Warn("this role may not read the history of migrations", "schema", m.settings.historySchema)
	}
	applied := p.applied()
	for _, mig := range m.folder.list() {
		ms := MigrationStatus{Migration: mig, Applied: mig.Version <= p.version}
		if e, ok := entries[applied[mig.Version].id]; ok {
			ms.AppliedAt, ms.Role, ms.Client, ms.Action = e.StartedAt.Add(e.Duration), e.Role, e.Client, e.Action
			ms.Duration, ms.Recorded = e.Duration, e.Checksum
			ms.Edited = e.Checksum != mig.Checksum()
		}
		s.Migrations = append(s.Migrations, ms)
	}
	return s, nil
}
