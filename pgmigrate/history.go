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

// Action is the kind of an [Entry] of the history.
type Action string

// The actions.
const (
	ActionUp         Action = "up"
	ActionDown       Action = "down"
	ActionBaseline   Action = "baseline"    // [Migrator.Baseline]: nothing ran
	ActionApplied    Action = "applied"     // [Migrator.Resolve] with [ResolveApplied]: nothing ran
	ActionRolledBack Action = "rolled back" // [Migrator.Resolve] with [ResolveRolledBack]: nothing ran
)

// applies reports whether the migration is in place after the action.
func (a Action) applies() bool { return a == ActionUp || a == ActionBaseline || a == ActionApplied }

// Progress is the progress of an [Entry]'s action.
type Progress string

// Only the newest entry can be other than done. Older ones that are not done were repeated or
// resolved by the entry after them.
const (
	ProgressDone    Progress = "done"
	ProgressRunning Progress = "running" // a disable-tx section runs, or its process was killed
	ProgressFailed  Progress = "failed"  // a statement of a disable-tx section failed
)

// Entry is a row of the history.
//
// The row of a migration in a transaction is written in that transaction. The row of a disable-tx
// section is committed as running before its first statement, updated before each statement, and
// marked done in the transaction that records the version. A killed process can leave a row that
// says running, but never a section that ran without a row.
type Entry struct {
	ID        int64 // grows
	Version   int32
	Name      string // the file's name at that time
	Action    Action
	Progress  Progress
	Checksum  string // [Migration.Checksum] at that time
	Statement int    // of a disable-tx section: the last one that began, from 1
	Line      int    // where it begins in the file; 0 if unknown
	StartedAt time.Time
	Duration  time.Duration // 0 unless done
	Role      string        // the session's user in the database
	Client    string        // user@host of the process
}

// History returns the entries of the history, oldest first. It is empty if only tern has migrated
// the database. It takes no lock and cannot write. It returns an error if this role may not read
// the history.
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

// createHistory makes the schema and the table. If the role may not create schemas, an
// administrator may have made it: "create schema if not exists" demands the right even then.
func (r *run) createHistory(ctx context.Context) error {
	schema := r.m.settings.historySchema
	table := `
create table if not exists ` + schema + `.history (
  version_table text not null, -- several folders may share a database
  id int8 not null, -- one more than the greatest of its version table, not from a sequence
  version int4 not null,
  name text not null,
  action text not null,
  progress text not null,
  checksum text not null,
  -- of a section without a transaction:
  statement int4, -- the last one that began
  line int4,
  repeatable bool, -- the statement may run again
  index_name text, -- that it builds or drops without IF (NOT) EXISTS: it may run again unless it has finished
  drops_index bool,
  before text, -- SHA-256 of the statements before it
  current text, -- the same with the statement itself
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

// enterRunning adds the entry of a section without a transaction that is about to run, unless the
// version has moved or another section has begun since they were read.
func (r *run) enterRunning(ctx context.Context, notes *pgx.Conn, s *step) error {
	conn := notes.PgConn()
	if err := exec(ctx, conn, strings.Join(session.ResetSettings(notes), "; ")); err != nil {
		return fmt.Errorf("reset the session: %w", err)
	}
	if err := r.pollLock(ctx, notes, takeSectionLockSQL); err != nil {
		return err
	}
	if err := r.lockVersion(ctx, conn, s.source()); err != nil {
		return err // the end of the connection ends the transaction
	}
	err := exec(ctx, conn, r.entrySQL(s.migration, strconv.Itoa(int(s.migration.Version)),
		Action(s.direction), ProgressRunning, "null"))
	if pgerr.Of(err) == pgerr.Constraint {
		return errMoved
	}
	s.entry = r.lastEntry + 1
	if err == nil && s.resume > 1 {
		// If it is interrupted before its first note, it continues at the same statement.
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

// entrySQL adds the entry after the last one. version and duration, in milliseconds, are SQL.
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
