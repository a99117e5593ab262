package pgmigrate

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate/internal/session"
)

// Baseline records, without running anything, that a database which was not made by migrations has
// what those up to version do. It returns a *[VersionError] if the folder does not reach to
// version. A database that is at version already, migrated by tern itself perhaps, keeps its
// version, and the migrations that the history does not know get an entry, so that a later edit is
// noticed. A database at another version above 0 is refused.
//
// It waits for the migration lock until ctx ends.
func (m *Migrator) Baseline(ctx context.Context, version int32) error {
	if version < 1 || version > m.folder.latest() {
		return &VersionError{Target: version, Latest: m.folder.latest()}
	}
	return m.withLock(ctx, func(r *run) error {
		p, err := m.readPosition(ctx, r.conn)
		if err != nil {
			return err
		}
		if p.version != 0 && p.version != version {
			return fmt.Errorf("baseline at version %d: the database is at version %d already: baseline is for "+
				"databases that have none", version, p.version)
		}
		if k, ok := p.unfinished(); ok {
			return r.dirty(ctx, k)
		}
		r.takePosition(p)
		if err := r.prepare(ctx); err != nil {
			return err
		}
		known := p.applied()
		return r.writeVersion(ctx, version, func(tx pgx.Tx) error {
			for i := range m.folder.migrations[:version] {
				mig := &m.folder.migrations[i].Migration
				if _, ok := known[mig.Version]; ok {
					continue
				}
				if err := r.enter(ctx, tx, mig, ActionBaseline); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// withLock connects, takes the migration lock and calls fn.
func (m *Migrator) withLock(ctx context.Context, fn func(*run) error) error {
	r := m.newRun()
	var err error
	if r.conn, err = m.connect(ctx); err != nil {
		return err
	}
	defer session.Close(ctx, r.conn)
	if err := r.lockDirect(ctx); err != nil {
		return err
	}
	defer session.Unlock(ctx, r.conn)
	return fn(r)
}

// dirty returns the *DirtyError for an unfinished section.
func (r *run) dirty(ctx context.Context, k mark) error {
	u, err := r.m.readUnfinished(ctx, r.conn, k)
	if err != nil {
		return err
	}
	return &DirtyError{*u}
}

// writeVersion sets tern's version and, in the same transaction, the history.
func (r *run) writeVersion(ctx context.Context, version int32, history func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, r.conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "update "+r.m.settings.versionTable+" set version=$1", version); err != nil {
			return fmt.Errorf("write version table %s: %w", r.m.settings.versionTable, err)
		}
		return history(tx)
	})
}

// enter adds an entry for something that ran nothing.
func (r *run) enter(ctx context.Context, tx pgx.Tx, mig *Migration, action Action) error {
	if _, err := tx.Exec(ctx, r.entrySQL(mig, strconv.Itoa(int(mig.Version)), action, ProgressDone, "0")); err != nil {
		return fmt.Errorf("record %s in the history: %w", mig.Name, err)
	}
	r.lastEntry++
	return nil
}
