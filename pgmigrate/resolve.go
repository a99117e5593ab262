package pgmigrate

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// Baseline records that a database which was not made by migrations has what those up to version
// do. It runs nothing. It returns a *[VersionError] if the folder does not contain version. A
// database that is at version already, perhaps through tern, keeps its version: migrations that the
// history does not know get an entry, so that a later edit is noticed. A database at another
// version above 0 is refused.
//
// Baseline waits for the migration lock until ctx ends.
func (m *Migrator) Baseline(ctx context.Context, version int32) error {
	if version < 1 || version > m.folder.latest() {
		return &VersionError{Target: version, Latest: m.folder.latest()}
	}
	return m.record(ctx, ActionBaseline, func(r *run) (int32, []Migration, error) {
		if r.version != 0 && r.version != version {
			return 0, nil, fmt.Errorf("baseline at version %d: the database is at version %d already: baseline is for "+
				"databases that have none", version, r.version)
		}
		if k, ok := r.unfinished(); ok {
			return 0, nil, r.dirty(ctx, k)
		}
		known := r.applied()
		var list []Migration
		for _, mig := range m.folder.migrations[:version] {
			if _, ok := known[mig.Version]; !ok {
				list = append(list, mig)
			}
		}
		return version, list, nil
	})
}

// Resolution is what a person decides about a migration whose state the database does not show.
type Resolution string

const (
	// ResolveApplied says that everything the migration's up section does is in the database.
	ResolveApplied Resolution = "applied"
	// ResolveRolledBack says that nothing of it is. The next Up runs it from its first statement.
	// That run also drops the invalid index that an interrupted concurrent build has left.
	ResolveRolledBack Resolution = "rolled back"
)

// Resolve records what became of the migration version. It runs nothing.
//
//   - After a *[DirtyError], in either direction: ResolveApplied makes the database's version this
//     one, ResolveRolledBack the one before.
//   - After an *[EditedError], ResolveApplied accepts the file as it is now.
//   - ResolveApplied of the version after the database's records it as applied. Use it if tern,
//     which keeps no history, had failed and a person has finished the migration.
//
// Everything else is refused. Resolve waits for the migration lock until ctx ends.
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
	return m.record(ctx, action, func(r *run) (target int32, list []Migration, err error) {
		k, dirty := r.unfinished()
		switch {
		case dirty && k.version != version:
			return 0, nil, r.dirty(ctx, k)
		case dirty && resolution == ResolveRolledBack:
			target = version - 1
		case dirty, resolution == ResolveApplied && version == r.version+1:
			target = version
		case resolution == ResolveApplied && version <= r.version:
			target = r.version
		case resolution == ResolveApplied:
			return 0, nil, fmt.Errorf("resolve version %d as applied: the database is at version %d, and %d is next",
				version, r.version, r.version+1)
		default:
			return 0, nil, fmt.Errorf("resolve version %d as rolled back: it was not interrupted, and the database is "+
				"at version %d: to roll an applied migration back, migrate down", version, r.version)
		}
		return target, []Migration{*m.folder.migration(version)}, nil
	})
}

// record writes, under the migration lock and in one transaction, the version and the entries for
// the migrations that decide returns.
func (m *Migrator) record(
	ctx context.Context, action Action, decide func(*run) (version int32, list []Migration, err error),
) error {
	return m.withLock(ctx, func(r *run) error {
		p, err := m.readPosition(ctx, r.conn)
		if err != nil {
			return err
		}
		r.takePosition(p)
		version, list, err := decide(r)
		if err != nil {
			return err
		}
		if err := r.prepare(ctx); err != nil {
			return err
		}
		return pgx.BeginFunc(ctx, r.conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "update "+m.settings.versionTable+" set version=$1", version); err != nil {
				return fmt.Errorf("write version table %s: %w", m.settings.versionTable, err)
			}
			for i := range list {
				sql := r.entrySQL(&list[i], strconv.Itoa(int(list[i].Version)), action, ProgressDone, "0")
				if _, err := tx.Exec(ctx, sql); err != nil {
					return fmt.Errorf("record %s in the history: %w", list[i].Name, err)
				}
				r.lastEntry++
			}
			return nil
		})
	})
}

// dirty returns the *DirtyError for an unfinished section.
func (r *run) dirty(ctx context.Context, k mark) error {
	u, err := r.m.readUnfinished(ctx, r.conn, k)
	if err != nil {
		return err
	}
	return &DirtyError{*u}
}
