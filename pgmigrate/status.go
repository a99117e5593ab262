package pgmigrate

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate/internal/session"
)

// Status compares a database with the folder.
type Status struct {
	Version    int32 // the database's version; 0 also if there is no version table yet
	Latest     int32 // the folder's last version
	Tracked    bool  // there is a version table
	Migrations []MigrationStatus
	Repeatable []Repeatable

	// Dirty is the section that was interrupted, if any. The next run continues it or returns a
	// *[DirtyError].
	Dirty *Unfinished
	// Running is the section that another instance works on, if any; on a standby also one that was
	// interrupted.
	Running *Unfinished

	edited error // of Up
}

// MigrationStatus is one migration of the folder in a [Status]. The fields after Applied are empty
// unless this package applied the migration and the role may read the history.
type MigrationStatus struct {
	Migration
	Applied   bool
	AppliedAt time.Time
	Role      string        // the session's user in the database
	Client    string        // user@host of the process
	Duration  time.Duration // 0 also if nothing ran, as with [Migrator.Baseline]
	Action    Action        // how it came to be applied
	Recorded  string        // the checksum that was recorded
	Edited    bool          // Recorded differs from the file's [Migration.Checksum]
}

// Pending returns how many migrations Up would apply.
func (s Status) Pending() int { return int(max(s.Latest-s.Version, 0)) }

// Ahead reports whether the database is ahead of the folder, as during the deployment of a newer
// one.
func (s Status) Ahead() bool { return s.Version > s.Latest }

// Status reads the state of the database. It takes no migration lock, does not wait for a migration
// that runs, and cannot write: a standby answers too. Without a history, or without the right to
// read it, Status reports what the version table says.
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
	for _, mig := range m.folder.migrations {
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

// Plan is what [Migrator.Up] would run now.
type Plan struct {
	Version    int32        // the database's version; 0 also if there is no version table yet
	Latest     int32        // the folder's last version
	Steps      []Migration  // in order; their Up field is the SQL
	Repeatable []Repeatable // the repeatable migrations that would run after them
}

// Ahead reports whether the database is ahead of the folder. Up would do nothing but warn.
func (p Plan) Ahead() bool { return p.Version > p.Latest }

// Plan reads the database as [Migrator.Status] does and returns what Up would run. The SQL is
// rendered: it contains values from templates, such as {{env "NAME"}}.
//
// If Up would refuse, Plan returns the plan and that error: an *[EditedError] or a *[DirtyError].
func (m *Migrator) Plan(ctx context.Context) (Plan, error) {
	s, err := m.Status(ctx)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{Version: s.Version, Latest: s.Latest}
	for _, mig := range s.Migrations {
		if !mig.Applied {
			p.Steps = append(p.Steps, mig.Migration)
		}
	}
	for _, f := range s.Repeatable {
		if !f.Applied && !p.Ahead() {
			p.Repeatable = append(p.Repeatable, f)
		}
	}
	if s.edited != nil {
		return p, s.edited
	}
	if d := s.Dirty; d != nil && d.Version <= s.Latest && (!d.Repeatable || d.Direction != DirectionUp) {
		return p, &DirtyError{*d}
	}
	return p, nil
}

// SchemaVersion reads the state of the database for a health check: current is the database's
// version, needed the folder's last, and dirty reports an interrupted section. A Migrator fits
// pghealth's Options.Schema.
//
// It runs on conn, which must be idle, and leaves nothing behind: usually one round trip of plain
// SQL that works through PgBouncer. A role that may not read the history gets dirty false.
func (m *Migrator) SchemaVersion(ctx context.Context, conn *pgx.Conn) (current, needed int64, dirty bool, err error) {
	p, unfinished, _, err := m.unfinished(ctx, conn)
	if err != nil {
		return 0, 0, false, err
	}
	return int64(p.version), int64(m.folder.latest()), unfinished != nil, nil
}
