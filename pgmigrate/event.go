package pgmigrate

import "time"

// EventKind is the kind of an [Event].
type EventKind string

const (
	// EventWaiting is sent once a run if another instance holds the migration lock.
	EventWaiting EventKind = "waiting"
	// EventStart is sent when a migration begins.
	EventStart EventKind = "start"
	// EventStatement is sent when a statement begins.
	EventStatement EventKind = "statement"
	// EventBuild is sent about every second while an index is built.
	EventBuild EventKind = "build"
	// EventDone is sent when a migration is applied or rolled back, and its version is recorded.
	EventDone EventKind = "done"
	// EventRetry is sent when a migration was rolled back because of a lock or a deadlock and will
	// be tried again. Version is 0 if the version table was locked.
	EventRetry EventKind = "retry"
)

// Event is a step of a run, for a progress display.
type Event struct {
	Kind      EventKind
	Version   int32     // the migration's number; 0 for EventWaiting
	Name      string    // the migration's file name
	Direction Direction // the section that runs
	Line      int       // EventStatement, EventBuild: where the statement begins in the file; 0 if unknown

	// EventStatement: the statement's number, from 1, and the number of statements in the section.
	Statement, Statements int
	InTransaction         bool // EventStatement: the section runs in a transaction

	Duration time.Duration // EventDone: of the migration; EventRetry: the pause until the next try
	Err      error         // EventRetry: why the try failed; EventWaiting: who holds the lock, if visible

	// EventBuild: from pg_stat_progress_create_index. Total counts blocks, tuples or transactions,
	// and is 0 if the phase has none.
	Phase       string
	Done, Total int64
}
