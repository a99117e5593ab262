package pgmigrate

import (
	"context"
	"errors"
	"io/fs"
	"time"
)

// Repeatable is a file of the folder of [WithRepeatable].
type Repeatable struct {
	Migration      // Name has the prefix "repeatable/", Up is the file, and Version is 0
	Applied   bool // the database has the file as it is now
}

var repeatableTable = scriptTable{"repeatable", "path"}

const repeatablePrefix = "repeatable/"

// WithRepeatable names a folder of repeatable migrations: views, functions and grants, whose files
// are edited in place. The *.sql files at its top are plain SQL, without templates and sections.
//
// Up, To and Redo run the files that have changed since they last ran, after the folder's last
// version is reached, in the order of their names and in one transaction. After a rollback of a
// migration, the next Up runs all of them again. A deleted file leaves behind what it has made. If
// two deployed versions differ at the same database version, the files of the one that starts last
// are in force. Defaults to none.
func WithRepeatable(fsys fs.FS) Option {
	return func(s *settings) { s.repeatable = fsys }
}

// changed returns the repeatable migrations that Up would run after the last version.
func (f *folder) changed(done map[string]string) []*script {
	var changed []*script
	for _, s := range f.repeatable {
		if done[s.Path] != s.Checksum {
			changed = append(changed, s)
		}
	}
	return changed
}

// Repeatable returns the repeatable migrations in order, none of them as applied. The caller owns
// the slice.
func (m *Migrator) Repeatable() []Repeatable { return m.folder.listRepeatable(nil) }

func (f *folder) listRepeatable(done map[string]string) []Repeatable {
	var list []Repeatable
	for _, s := range f.repeatable {
		list = append(list, Repeatable{Migration: *s.step.migration, Applied: done[s.Path] == s.Checksum})
	}
	return list
}

// repeat runs the repeatable migrations that have changed, if the database is at the folder's last
// version.
func (r *run) repeat(ctx context.Context) error {
	changed := r.m.folder.changed(r.repeated)
	if r.version != r.m.folder.latest() || len(changed) == 0 {
		return nil
	}
	if err := r.createScriptTable(ctx, repeatableTable); err != nil {
		return err
	}
	started := time.Now()
	err := r.runScripts(ctx, changed, repeatableTable, func(ctx context.Context) error {
		return r.lockVersion(ctx, r.conn.PgConn(), r.version)
	})
	switch {
	case errors.Is(err, errMoved):
		return r.moved(ctx)
	case err != nil && r.step != nil:
		return r.failure(ctx, err)
	case err != nil:
		return err
	}
	for _, s := range changed {
		r.result.Repeated = append(r.result.Repeated, s.step.migration.Name)
		r.m.settings.logger.Info("migrated up", "migration", s.step.migration.Name)
		e := s.step.event(EventDone)
		e.Duration = time.Since(started)
		r.m.settings.event(e)
	}
	return nil
}

// forgetRepeated makes all repeatable migrations run again: a rollback may drop what they have
// made.
func (r *run) forgetRepeated(ctx context.Context) error {
	if len(r.repeated) == 0 {
		return nil
	}
	_, err := r.conn.Exec(ctx, "delete from "+r.m.settings.historySchema+".repeatable where version_table = "+
		literal(r.m.settings.versionTable))
	r.repeated = nil
	return err
}
