// Package backfill moves the rows of a large table in small batches while the application uses it.
//
//	r, err := backfill.New(connConfig, os.DirFS("backfills"), backfill.Options{})
//	...
//	err = r.Run(ctx, "pages_heading")
//
// A backfill is a file. Its statement runs once for each batch of rows, with the first and the last
// key of the batch as arguments, both included:
//
//	-- pgmigrate:backfill table=public.pages key=id
//	update public.pages set heading = title where id between $1 and $2;
//
//	-- pgmigrate:verify
//	select count(*) from public.pages where heading is distinct from title;
//
//	-- pgmigrate:finish
//	analyze public.pages;
//
// The key is any unique index of columns that are not null. With several columns the statement
// compares rows: where (tenant_id, id) between ($1, $2) and ($3, $4). The statement of verify
// returns how many rows are wrong; finish runs once, in the transaction that records the end. Both
// are optional.
//
// Each batch is a transaction of its own, and the progress commits with it: a worker that is killed
// at any point repeats nothing and leaves nothing out. Rows that are written while the backfill
// runs may lie behind it, so a trigger or the application has to write both columns before it
// begins. A row whose key changes may be met twice or not at all for the same reason.
//
// A batch takes as long as Options.Target. The backfill waits while replicas lag, while others wait
// for locks, and while a transaction is old; also for WAL, vacuum and a window of the day if
// Options say so. It needs a direct connection, not PgBouncer.
//
// Several workers, of one process or several, share a backfill by ranges of its key.
//
// A migration says that it needs the result: -- pgmigrate:requires-backfill pages_heading. See
// [Runner.Up].
package backfill

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"regexp"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
)

// Options change what a Runner does. The zero value works.
type Options struct {
	// VersionTable and HistorySchema must be the same as for the migrations. See
	// [pgmigrate.WithVersionTable] and [pgmigrate.WithHistorySchema]. The table backfill in the
	// history schema records the progress.
	//
	// Default to pgmigrate's.
	VersionTable, HistorySchema string

	// Workers is how many connections a Run works on. Several calls of Run, also in several
	// processes, share the work in the same way.
	//
	// Defaults to 1.
	Workers int

	// Target is the time that a batch should take, without the round trips to the server. The
	// number of rows adapts to it.
	//
	// Defaults to 100 ms.
	Target time.Duration

	// LockTimeout limits how long a batch queues for a lock, while it keeps the rows that it has
	// changed from others. It is then tried again with half the rows.
	//
	// Defaults to 100 ms.
	LockTimeout time.Duration

	// StatementTimeout limits each statement of a batch. It is then tried again with half the rows.
	//
	// Defaults to 10 s.
	StatementTimeout time.Duration

	// MaxLag is how many bytes of WAL a replica may be behind the primary's position. A batch
	// begins below half of that, because it adds to it. Negative means any number.
	//
	// Defaults to 64 MiB.
	MaxLag int64

	// MaxLockWait is the longest time that another session may wait for a lock while batches run.
	// Negative means no limit.
	//
	// Defaults to 1 s.
	MaxLockWait time.Duration

	// MaxTransactionAge is how old a transaction in the database may be, a prepared one included.
	// Until it ends, VACUUM cannot remove the old versions of the rows that a batch changes.
	// Negative means any age.
	//
	// Defaults to 10 min.
	MaxTransactionAge time.Duration

	// MaxWALRate is how many bytes of WAL the server may write a second, by all its sessions.
	// Batches wait until the mean is below it.
	//
	// Defaults to no limit.
	MaxWALRate int64

	// WaitForVacuum makes batches wait while VACUUM or autovacuum works on the table or a
	// partition.
	//
	// Defaults to false.
	WaitForVacuum bool

	// Window is the part of the day in which batches, verification and finish may begin, such as
	// "22:00-06:00 Europe/Berlin". Without a zone it is in the process's local time.
	//
	// Defaults to the whole day.
	Window string

	// Logger gets the begin, the end and each minute (Info), and what holds a backfill up (Warn).
	// It never gets SQL or a value of a row.
	//
	// Defaults to [slog.Default].
	Logger *slog.Logger

	// Progress is called after each batch by the worker, which waits for it. Calls of one Run do
	// not overlap.
	//
	// Defaults to nothing.
	Progress func(Status)
}

// Runner runs the backfills of one folder on one database. It holds no connection: every method
// opens one and closes it before it returns. It is safe for concurrent use.
type Runner struct {
	conn      *pgx.ConnConfig
	backfills []Backfill
	opts      Options
	window    *window // nil: the whole day
}

// What may stand in SQL without quotes, as in pgmigrate.
var (
	schemaName = regexp.MustCompile(`\A[a-z_][a-z0-9_]{0,62}\z`)
	tableName  = regexp.MustCompile(`\A[a-z_][a-z0-9_]{0,62}\.[a-z_][a-z0-9_]{0,62}\z`)
)

// New reads and checks the backfills in fsys as [Check] does. It touches no database. conn must
// come from [pgx.ParseConfig] and is copied.
func New(conn *pgx.ConnConfig, fsys fs.FS, opts Options) (*Runner, error) {
	if conn == nil {
		return nil, errors.New("new backfill runner: conn is nil: parse one with pgx.ParseConfig")
	}
	opts.VersionTable = or(opts.VersionTable, pgmigrate.DefaultVersionTable)
	opts.HistorySchema = or(opts.HistorySchema, pgmigrate.DefaultHistorySchema)
	opts.LockTimeout = or(opts.LockTimeout, 100*time.Millisecond)
	opts.StatementTimeout = or(opts.StatementTimeout, 10*time.Second)
	opts.Workers = or(opts.Workers, 1)
	opts.Target = or(opts.Target, 100*time.Millisecond)
	opts.MaxLag = or(opts.MaxLag, 64<<20)
	opts.MaxLockWait = or(opts.MaxLockWait, time.Second)
	opts.MaxTransactionAge = or(opts.MaxTransactionAge, 10*time.Minute)
	opts.Logger = or(opts.Logger, slog.Default())
	switch {
	case !tableName.MatchString(opts.VersionTable):
		return nil, fmt.Errorf("new backfill runner: version table %q: write schema.table in lower case without "+
			"quotes", opts.VersionTable)
	case !schemaName.MatchString(opts.HistorySchema):
		return nil, fmt.Errorf("new backfill runner: history schema %q: write its name in lower case without quotes",
			opts.HistorySchema)
	case opts.Workers < 0 || opts.Workers > mostRanges:
		return nil, fmt.Errorf("new backfill runner: %d workers: use 1 to %d", opts.Workers, mostRanges)
	case opts.Target < 0 || opts.LockTimeout < 0 || opts.StatementTimeout < 0 || opts.MaxWALRate < 0:
		return nil, errors.New("new backfill runner: Target, LockTimeout, StatementTimeout and MaxWALRate cannot be " +
			"negative")
	}
	r := &Runner{conn: conn.Copy(), opts: opts}
	var err error
	if opts.Window != "" {
		if r.window, err = parseWindow(opts.Window); err != nil {
			return nil, fmt.Errorf("new backfill runner: %w", err)
		}
	}
	if r.backfills, err = Check(fsys); err != nil {
		return nil, err
	}
	return r, nil
}

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// Backfills returns the folder's backfills by name. The caller owns the slice.
func (r *Runner) Backfills() []Backfill { return slices.Clone(r.backfills) }

func (r *Runner) find(name string) (*Backfill, error) {
	for i := range r.backfills {
		if r.backfills[i].Name == name {
			return &r.backfills[i], nil
		}
	}
	return nil, fmt.Errorf("backfill %s: %w", name, ErrUnknown)
}

// ErrUnknown is wrapped by errors of a name that the folder has no file of.
var ErrUnknown = errors.New("the folder has no such backfill")
