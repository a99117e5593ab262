package pgmigrate

import "fmt"

// VersionError is returned when a run cannot start from, or arrive at, a version because the folder
// does not reach that far.
type VersionError struct {
	Target   int32 // the version asked for
	Database int32 // the version the database is at; meaningful only if Ahead
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

// IrreversibleError is returned, before anything has been changed, when the way down leads over a
// migration whose down section has no statement.
type IrreversibleError struct {
	Version int32
	Name    string
}

func (e *IrreversibleError) Error() string {
	return fmt.Sprintf("migrate down: %s cannot be rolled back: it has no statement below the line %q", e.Name,
		sectionMarker)
}
