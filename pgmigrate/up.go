package pgmigrate

import "context"

// Up applies all pending migrations in order, each in a transaction of its own unless it has tern's
// disable-tx marker.
//
// If nothing is pending, Up takes no lock and writes nothing. Otherwise it waits for other
// instances until ctx ends; of any number that start at the same time, one applies the migrations
// and the others find them applied. A migration that cannot get a table lock within the lock
// timeout, or is the victim of a deadlock, is rolled back and tried again with growing, random
// pauses until ctx ends: give ctx a deadline.
//
// A database that is ahead of the folder is left as it is: Up logs a warning and returns no error.
// See [Result.Ahead].
//
// Before anything is changed, an applied file that was edited since is an *[EditedError], and a
// section that an earlier run left unfinished is either continued or a *[DirtyError] that says what
// to do.
//
// A failed migration is a *[MigrationError]; those before it stay applied and are in the Result.
// When ctx ends, the connection is closed, and the server rolls back what was not committed.
func (m *Migrator) Up(ctx context.Context) (Result, error) {
	result, err := m.run(ctx, m.routeUp)
	if err == nil && result.Ahead() { // an error under WithStrict
		m.settings.logger.Warn("the database is ahead of the migrations folder: expected while a newer version is "+
			"being deployed",
			"database", result.To, "folder", result.Latest)
	}
	return result, err
}

// To migrates up or down to version, from 0 (nothing applied) to the folder's last. Going down
// executes the down sections in reverse order. It returns a *[VersionError] if the folder does not
// reach to version or to where the database is, and an *[IrreversibleError] if a down section on
// the way is missing; both before anything is changed. Else it behaves as [Migrator.Up].
func (m *Migrator) To(ctx context.Context, version int32) (Result, error) {
	return m.run(ctx, func(current int32) ([]int32, error) { return m.routeTo(current, version) })
}

// Down rolls the last applied migration back. At version 0 it does nothing. Errors and locking are
// as for [Migrator.To].
func (m *Migrator) Down(ctx context.Context) (Result, error) {
	return m.run(ctx, func(current int32) ([]int32, error) { return m.routeTo(current, max(current-1, 0)) })
}

// Redo rolls the last applied migration back and applies it again, under one lock. At version 0 it
// does nothing. If the second half fails, the migration stays rolled back. Errors and locking are
// as for [Migrator.To].
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
	if latest := m.folder.latest(); current > latest && m.settings.strict {
		return nil, &VersionError{Target: latest, Database: current, Latest: latest, Ahead: true}
	}
	if current >= m.folder.latest() {
		return nil, nil
	}
	return []int32{m.folder.latest()}, nil
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
		if mig := m.folder.migrations[v-1]; !mig.Reversible() {
			return nil, &IrreversibleError{Version: mig.Version, Name: mig.Name}
		}
	}
	return []int32{target}, nil
}
