package pgmigrate

import "time"

// Result is what a run did. Beside an error it holds the steps that were completed before.
type Result struct {
	From     int32 // the version before; 0 also if there was no version table
	To       int32 // the version after the last completed step
	Latest   int32 // the folder's last version
	Steps    []Step
	Repeated []string      // the repeatable migrations that were run after them, such as repeatable/views.sql
	Duration time.Duration // connecting and waiting included
}

// Ahead reports whether the database is ahead of the folder.
func (r Result) Ahead() bool { return r.To > r.Latest }

// Step is one completed section of a migration.
type Step struct {
	Version   int32 // the migration's number, for both directions
	Name      string
	Direction Direction
	Duration  time.Duration // of the try that succeeded
	Tries     int           // more than 1 if locks were in the way
}
