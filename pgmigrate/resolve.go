package pgmigrate

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Resolution is what a person found, or made, of a migration whose state the database does not
// tell.
type Resolution string

const (
	// ResolveApplied says that all that the migration's up section does is in the database.
	ResolveApplied Resolution = "applied"
	// ResolveRolledBack says that nothing of it is. The next Up runs it from its first statement.
	// An invalid index that a concurrent build with a name has left behind need not be dropped
	// before: it is when the build runs again.
	ResolveRolledBack Resolution = "rolled back"
)

// Resolve records, without running anything, what became of the migration version:
//
//   - After a *[DirtyError], whichever of its sections was interrupted: ResolveApplied makes the
//     database's version this one, ResolveRolledBack the one before.
//   - After an *[EditedError], ResolveApplied accepts the file as it is now.
//   - ResolveApplied of the version after the database's records it as applied, for a migration
//     that was finished by hand after tern itself, which keeps no history, had failed.
//
// Everything else is refused. It waits for the migration lock until ctx ends.
func (m *Migrator) Resolve(ctx context.Context, version int32, resolution Resolution) error {
	if version < 1 || version > m.folder.latest() {
		return &VersionError{Target: version, Latest: m.folder.latest()}
	}
	action := ActionApplied
	switch resolution {
	case ResolveApplied:
	case ResolveRolledBack:
		action = ActionRolledBack
	default:
		return fmt.Errorf("resolve version %d: resolution %q: ResolveApplied or ResolveRolledBack", version, resolution)
	}
	return m.withLock(ctx, func(r *run) error {
		p, err := m.readPosition(ctx, r.conn)
		if err != nil {
			return err
		}
		target := p.version
		k, dirty := p.unfinished()
		switch {
		case dirty && k.version != version:
			return r.dirty(ctx, k)
		case dirty && resolution == ResolveApplied:
			target = version
		case dirty:
			target = version - 1
		case resolution == ResolveApplied && version <= p.version:
		case resolution == ResolveApplied && version == p.version+1:
			target = version
		case resolution == ResolveApplied:
			return fmt.Errorf("resolve version %d as applied: the database is at version %d, and %d is next",
				version, p.version, p.version+1)
		default:
			return fmt.Errorf("resolve version %d as rolled back: it was not interrupted, and the database is at "+
				"version %d: to roll an applied migration back, migrate down",
				version, p.version)
		}
		r.takePosition(p)
		if err := r.prepare(ctx); err != nil {
			return err
		}
		return r.writeVersion(ctx, target, func(tx pgx.Tx) error {
			return r.enter(ctx, tx, &m.folder.migrations[version-1].Migration, action)
		})
	})
}
