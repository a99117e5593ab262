package pgmigrate

import (
	"fmt"
	"strings"
)

// EditedError is returned, before anything is changed, when applied migrations are not what was
// applied: their files, or templates or data that they use, have been edited since.
type EditedError struct {
	Migrations []Migration // as they are in the folder now; never empty
}

func (e *EditedError) Error() string {
	names := make([]string, len(e.Migrations))
	for i, m := range e.Migrations {
		names[i] = m.Name
	}
	if len(names) == 1 {
		return fmt.Sprintf("check applied migrations: %s was edited after it had been applied: restore it and put "+
			"the change into a new migration, or, if the database already agrees with it, resolve version %d as "+
			"applied",
			names[0], e.Migrations[0].Version)
	}
	return fmt.Sprintf("check applied migrations: %s were edited after they had been applied: restore them and put "+
		"the changes into a new migration, or, if the database already agrees with them, resolve each version as "+
		"applied",
		strings.Join(names, ", "))
}

// edited returns the folder's migrations that differ from what the history says was applied.
// Versions that tern itself applied have no checksum and cannot differ.
func (m *Migrator) edited(p position) []Migration {
	var edited []Migration
	applied := p.applied()
	for i := range m.folder.migrations {
		mig := &m.folder.migrations[i].Migration
		if k, ok := applied[mig.Version]; ok && k.checksum != mig.Checksum() {
			edited = append(edited, *mig)
		}
	}
	return edited
}
