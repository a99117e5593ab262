package pgmigrate

import "time"

// EventKind tells the kinds of [Event] apart.
type EventKind string

const (
	// EventWaiting is sent when another instance holds the migration lock, once a run; Err says
	// who, as far as this role may know.
	EventWaiting EventKind = "waiting"
	// EventStart is sent when a migration begins.
	EventStart EventKind = "start"
	// EventStatement is sent when a statement begins.
	EventStatement EventKind = "statement"
	// EventBuild is sent while an index is built, about every second. See [WithProgressInterval].
	EventBuild EventKind = "build"
	// EventDone is sent when a migration is applied (or rolled back) and its version is recorded.
	EventDone EventKind = "done"
	// EventRetry is sent when a migration met a lock or a deadlock, has been rolled back and will
	// be tried again. Its Version is 0 if it was the version table that was locked.
	EventRetry EventKind = "retry"
)

// Event is a step of a run, for a progress display.
type Event struct {
	Kind      EventKind
	Version   int32     // the migration's number; 0 for EventWaiting
	Name      string    // the migration's file name
	Direction Direction // which of its sections runs
	Line      int       // EventStatement, EventBuild: where the statement begins in the file, 0 if unknown
	// EventStatement: the statement's number, from 1, and how many the section has.
	Statement, Statements int
	InTransaction         bool // EventStatement: the section runs in a transaction
	Duration              time.Duration
	// Duration is that of the migration for EventDone, and the pause until the next try for
	// EventRetry.

	Err error // EventRetry: why the try failed; EventWaiting: what is waited for

	// EventBuild: what pg_stat_progress_create_index says. Total is that of the phase, in blocks,
	// tuples or transactions to wait for, and 0 if the phase has none.
	Phase       string
	Done, Total int64
}
