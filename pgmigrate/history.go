package pgmigrate

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgmigrate/internal/session"
)

// DefaultHistorySchema is the schema of the history.
const DefaultHistorySchema = "pgmigrate"

// Action is what an [Entry] of the history records.
type Action string

// The actions.
const (
	ActionUp         Action = "up"
	ActionDown       Action = "down"
	ActionBaseline   Action = "baseline"    // [Migrator.Baseline]: nothing was run
	ActionApplied    Action = "applied"     // [Migrator.Resolve] with [ResolveApplied]: nothing was run
	ActionRolledBack Action = "rolled back" // [Migrator.Resolve] with [ResolveRolledBack]: nothing was run
)

// applies reports whether the migration is in place after the action.
func (a Action) applies() bool { return a == ActionUp || a == ActionBaseline || a == ActionApplied }

// Progress says how far the action of an [Entry] got.
type Progress string

// How far an action got. Only the newest entry can be anything but done; older ones that are not
// done were repeated or resolved by the entry after them.
const (
	ProgressDone Progress = "done"
	// ProgressRunning is that of a disable-tx section that runs, or whose process was killed.
	ProgressRunning Progress = "running"
	// ProgressFailed is that of a disable-tx section one of whose statements failed.
	ProgressFailed Progress = "failed"
)

// Entry is a row of the history.
//
// The row of a migration that runs in a transaction is written in that transaction: it is there if,
// and only if, the migration is. The row of a disable-tx section is committed as running before the
// section's first statement, brought up to date before each statement, and marked done in the
// transaction that records the version. A killed process can therefore leave a row that says
// running, never a section that ran without one.
type Entry struct {
	ID        int64 // grows
	Version   int32
	Name      string // the file's name at that time
	Action    Action
	Progress  Progress
	Checksum  string // [Migration.Checksum] at that time
	Statement int    // of a disable-tx section: the last one begun, from 1
	Line      int    // where it begins in the file; 0 if unknown
	StartedAt time.Time
	Duration  time.Duration // 0 unless done
	Role      string        // the session's user in the database
	Client    string        // user@host of the process
}

// History returns what was done to the database, oldest first. It is empty if only tern itself has
// migrated it. It takes no lock and cannot write. It returns an error if this role may not read the
// history.
func (m *Migrator) History(ctx context.Context) ([]Entry, error) {
	conn, err := m.connectReadOnly(ctx)
	if err != nil {
		return nil, err
	}
	defer session.Close(ctx, conn)
	if err := m.refuseViews(ctx, conn); err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	return m.history(ctx, conn)
}

func (m *Migrator) history(ctx context.Context, conn *pgx.Conn) ([]Entry, error) {
	rows, err := conn.Query(ctx, `
select id, version, name, action, progress, checksum, coalesce(statement, 0), coalesce(line, 0), started_at,
  coalesce(duration_ms, 0), role, client
from `+m.settings.historySchema+`.history where version_table = $1 order by id`, pgx.QueryExecModeExec,
		m.settings.versionTable)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	entries, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Entry, error) {
		var e Entry
		var milliseconds float64
		err := row.Scan(&e.ID, &e.Version, &e.Name, &e.Action, &e.Progress, &e.Checksum,
			&e.Statement, &e.Line, &e.StartedAt,
			&milliseconds, &e.Role, &e.Client)
		e.Duration = time.Duration(milliseconds * float64(time.Millisecond))
		return e, err
	})
	if undefinedTable(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	return entries, nil
}

func undefinedTable(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && (pgErr.Code == "42P01" || pgErr.Code == "3F000") // 3F000: no such schema
}

// createHistory makes the schema and the table. A schema that an administrator has made, for a role
// that may not, is taken as it is: "create schema if not exists" asks for the right to create it
// even then.
func (r *run) createHistory(ctx context.Context) error {
	schema := r.m.settings.historySchema
	table := `
create table if not exists ` + schema + `.history (
  version_table text not null, -- several folders may share a database
  id int8 not null, -- one more than the greatest of its version table, whatever a restore has left
  version int4 not null,
  name text not null,
  action text not null,
  progress text not null,
  checksum text not null,
  -- of a section without a transaction: the statement that was begun last
  statement int4,
  line int4,
  repeatable bool, -- it may run again
  index_name text, -- that it builds or drops without IF (NOT) EXISTS: it may run again unless it came to its end
  drops_index bool,
  before text, -- SHA-256 of the statements before it
  current text, -- and with it
  started_at timestamptz not null,
  duration_ms float8,
  role text not null,
  client text not null,
  primary key (version_table, id)
)`
	_, err := r.conn.Exec(ctx, "create schema if not exists "+schema+";"+table)
	if pgerr.Of(err) == pgerr.Permission {
		if _, tableErr := r.conn.Exec(ctx, table); tableErr == nil {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("create history schema %s: %w", schema, err)
	}
	return nil
}

// begun adds the entry of a section without a transaction that is about to run. It does so only if
// the version has not moved, and nobody has begun a section, since they were read.
func (r *run) begun(ctx context.Context, notes *pgx.Conn, s *step) error {
	conn := notes.PgConn()
	if err := r.lockVersion(ctx, conn, s.source()); err != nil {
		return err // the end of the connection ends the transaction
	}
	err := exec(ctx, conn, r.entrySQL(&s.migration.Migration, strconv.Itoa(int(s.migration.Version)),
		Action(s.direction), ProgressRunning, "null"))
	if pgerr.Of(err) == pgerr.Constraint {
		return errMoved
	}
	s.entry = r.lastEntry + 1
	if err == nil && s.resume > 1 {
		// Should it be interrupted before it notes its first statement, it goes on from the same
		// one.
		_, err = notes.Exec(ctx, "update "+r.m.settings.historySchema+`.history h
set statement = p.statement, line = p.line, repeatable = p.repeatable, index_name = p.index_name,
  drops_index = p.drops_index, before = p.before, current = p.current
from `+r.m.settings.historySchema+`.history p
where h.version_table = $1 and h.id = $2 and p.version_table = $1 and p.id = $3`, pgx.QueryExecModeExec,
			r.m.settings.versionTable, s.entry, r.lastEntry)
	}
	if err == nil {
		err = exec(ctx, conn, "commit")
	}
	if err == nil {
		r.lastEntry = s.entry
	}
	if err != nil {
		return fmt.Errorf("record %s in the history: %w", s.migration.Name, err)
	}
	return nil
}

// entrySQL adds the entry after the last one for version, which is SQL, as is duration, in
// milliseconds.
func (r *run) entrySQL(mig *Migration, version string, action Action, progress Progress, duration string) string {
	return fmt.Sprintf(`insert into %[1]s.history (id, version_table, version, name, action, progress, checksum,
		started_at, duration_ms, role, client) `+
		`values (%[10]d, %[2]s, %[3]s, %[4]s, %[5]s, %[6]s, %[7]s, pg_catalog.now(), %[8]s, session_user, %[9]s)`,
		r.m.settings.historySchema, literal(r.m.settings.versionTable), version, literal(mig.Name),
		literal(string(action)), literal(string(progress)), literal(mig.Checksum()), duration, literal(r.client),
		r.lastEntry+1)
}

// entryKey is the condition for one entry.
func (s *settings) entryKey(id int64) string {
	return fmt.Sprintf("version_table = %s and id = %d", literal(s.versionTable), id)
}

// literal quotes s for any value of standard_conforming_strings.
func literal(s string) string {
	quoted := "'" + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + quoted
	}
	return quoted
}
