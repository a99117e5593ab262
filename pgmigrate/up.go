package pgmigrate

import (
	"context"
	"fmt"
	"time"

	"github.com/page-builder/persistence/pgmigrate/internal/load"
)

// Result is what a run did. With an error it holds the steps that were completed before.
type Result struct {
	From     int32 // the version before; 0 also if there was no version table
	To       int32 // the version after the last completed step
	Latest   int32 // the folder's last version
	Steps    []Step
	Repeated []string      // the repeatable migrations that ran after them, such as repeatable/views.sql
	Duration time.Duration // includes connecting and waiting
}

// Ahead reports whether the database is ahead of the folder.
func (r Result) Ahead() bool { return r.To > r.Latest }

// Step is one completed section of a migration.
type Step struct {
	Version   int32 // the migration's number, for both directions
	Name      string
	Direction Direction
	Duration  time.Duration // of the try that succeeded
	Tries     int           // more than 1 if locks were held by others
}

// Up applies all pending migrations in order, each in its own transaction unless it has tern's
// disable-tx marker.
//
// If nothing is pending, Up takes no lock and writes nothing. Otherwise it waits for other
// instances until ctx ends. One of them applies the migrations, and the others find them applied. A
// migration that cannot get a table lock within the lock timeout, or is the victim of a deadlock,
// is rolled back and tried again with growing, random pauses until ctx ends: give ctx a deadline.
//
// A database that is ahead of the folder is left as it is: Up logs a warning and returns no error.
// See [Result.Ahead].
//
// Before anything is changed, an applied file that was edited returns an *[EditedError]. A section
// that an earlier run left unfinished is either continued or returned as a *[DirtyError].
//
// A failed migration returns a *[MigrationError]; those before it stay applied and are in the
// Result. When ctx ends, the connection is closed and the server rolls back what was not committed.
func (m *Migrator) Up(ctx context.Context) (Result, error) {
	result, err := m.run(ctx, m.routeUp)
	if err == nil && result.Ahead() { // an error with WithStrict
		m.settings.logger.Warn("the database is ahead of the migrations folder: expected while a newer version is "+
			"being deployed",
			"database", result.To, "folder", result.Latest)
	}
	return result, err
}

// To migrates up or down to version, from 0 (nothing applied) to the folder's last. The way down
// runs the down sections in reverse order. It returns a *[VersionError] if the folder does not
// contain version or the database's version, and an *[IrreversibleError] if a down section is
// missing; both before anything is changed. Otherwise it behaves like [Migrator.Up].
func (m *Migrator) To(ctx context.Context, version int32) (Result, error) {
	return m.run(ctx, func(current int32) ([]int32, error) { return m.routeTo(current, version) })
}

// Down rolls back the last applied migration. At version 0 it does nothing. Errors and locking are
// those of [Migrator.To].
func (m *Migrator) Down(ctx context.Context) (Result, error) {
	return m.run(ctx, func(current int32) ([]int32, error) { return m.routeTo(current, max(current-1, 0)) })
}

// Redo rolls back the last applied migration and applies it again, under one lock. At version 0 it
// does nothing. If the second half fails, the migration stays rolled back. Errors and locking are
// those of [Migrator.To].
func (m *Migrator) Redo(ctx context.Context) (Result, error) {
	return m.run(ctx, func(current int32) ([]int32, error) {
		down, err := m.routeTo(current, max(current-1, 0))
		if err != nil || len(down) == 0 {
			return nil, err
		}
		return append(down, current), nil
	})
}

func (m *Migrator) routeUp(current int32) ([]int32, error) {
	latest := m.folder.latest()
	if current > latest && m.settings.strict {
		return nil, &VersionError{Target: latest, Database: current, Latest: latest, Ahead: true}
	}
	if current >= latest {
		return nil, nil
	}
	return []int32{latest}, nil
}

func (m *Migrator) routeTo(current, target int32) ([]int32, error) {
	latest := m.folder.latest()
	if target < 0 || target > latest || current > latest {
		return nil, &VersionError{Target: target, Database: current, Latest: latest, Ahead: current > latest}
	}
	if current == target {
		return nil, nil
	}
	for v := current; v > target; v-- {
		if mig := m.folder.migration(v); !mig.Reversible() {
			return nil, &IrreversibleError{Version: mig.Version, Name: mig.Name}
		}
	}
	return []int32{target}, nil
}

// VersionError is returned when the folder does not contain the version where a run would start or
// end.
type VersionError struct {
	Target   int32 // the version asked for
	Database int32 // the database's version; meaningful only if Ahead
	Latest   int32 // the folder's last version
	Ahead    bool  // the database is ahead of the folder
}

func (e *VersionError) Error() string {
	if e.Ahead {
		return fmt.Sprintf("migrate to version %d: the database is at version %d, and the folder ends at %d: use "+
			"the folder that it was migrated with",
			e.Target, e.Database, e.Latest)
	}
	return fmt.Sprintf("migrate to version %d: the folder has versions 0 to %d", e.Target, e.Latest)
}

// IrreversibleError is returned, before anything is changed, when a migration on the way down has
// no statement in its down section.
type IrreversibleError struct {
	Version int32
	Name    string
}

func (e *IrreversibleError) Error() string {
	return fmt.Sprintf("migrate down: %s cannot be rolled back: it has no statement below the line %q", e.Name,
		load.SectionMarker)
}
