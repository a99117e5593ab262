package pgmigrate

import (
	"fmt"
	"strings"
)

// EditedError is returned, before anything is changed, when applied migrations differ from what was
// applied: their files, templates or data were edited, or the database belongs to another folder.
type EditedError struct {
	Migrations []Migration // as they are in the folder now; never empty
	Recorded   []string    // the names under which they were applied, in the same order
}

// Foreign reports whether one of the migrations was applied under another name. Then the database
// more likely belongs to another folder than that a file was edited.
func (e *EditedError) Foreign() bool { return e.renamed() >= 0 }

// renamed returns the index of the first one with another name, or -1.
func (e *EditedError) renamed() int {
	for i, name := range e.Recorded {
		if name != e.Migrations[i].Name {
			return i
		}
	}
	return -1
}

func (e *EditedError) Error() string {
	names := make([]string, len(e.Migrations))
	for i, m := range e.Migrations {
		names[i] = m.Name
	}
	list := strings.Join(names, ", ")
	if i := e.renamed(); i >= 0 {
		return fmt.Sprintf("check applied migrations: the database has applied %s as version %d, and the folder has "+
			"%s: is it another project's database or version table? If the file was renamed and edited, restore it",
			e.Recorded[i], e.Migrations[i].Version, e.Migrations[i].Name)
	}
	if len(names) == 1 {
		return fmt.Sprintf("check applied migrations: %s was edited after it was applied: restore it and put "+
			"the change into a new migration, or, if the database already matches it, resolve version %d as "+
			"applied", list, e.Migrations[0].Version)
	}
	return fmt.Sprintf("check applied migrations: %s were edited after they were applied: restore them and put "+
		"the changes into a new migration, or, if the database already matches them, resolve each version as "+
		"applied", list)
}

// edited returns an *[EditedError] for the migrations up to version last that differ from the
// history. Versions that tern applied have no checksum and cannot differ.
func (m *Migrator) edited(p position, last int32) error {
	e := &EditedError{}
	applied := p.applied()
	for i := range m.folder.migrations {
		mig := &m.folder.migrations[i]
		if k, ok := applied[mig.Version]; ok && mig.Version <= last && k.checksum != mig.Checksum() {
			e.Migrations, e.Recorded = append(e.Migrations, *mig), append(e.Recorded, k.name)
		}
	}
	if len(e.Migrations) == 0 {
		return nil
	}
	return e
}
