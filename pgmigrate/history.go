package pgmigrate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgerr"
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
// section's first statement, brought up to date before each statement, and marked done after tern
// has recorded the version. A killed process can therefore leave a row that says running, never a
// section that ran without one; the version table decides whether its last statement was reached.
type Entry struct {
	ID        int64 // grows, with gaps
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
	defer disconnect(ctx, conn)
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
  id int8 generated always as identity primary key,
  version_table text not null, -- several folders may share a database
  version int4 not null,
  name text not null,
  action text not null,
  progress text not null,
  checksum text not null,
  statement int4,
  line int4,
  repeatable bool, -- the section may run again from its start
  -- that the statement builds or drops without IF (NOT) EXISTS: it may run again unless it came to its end
  index_name text,
  drops_index bool,
  started_at timestamptz not null,
  duration_ms float8,
  role text not null,
  client text not null
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

// begun adds the entry of a disable-tx section that is about to run and returns its number.
func (r *run) begun(ctx context.Context, mig *Migration, direction Direction) (id int64, err error) {
	err = r.conn.QueryRow(ctx, r.entrySQL(mig, Action(direction), ProgressRunning, "null")+" returning id",
		pgx.QueryExecModeExec).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("record %s in the history: %w", mig.Name, err)
	}
	return id, nil
}

// recording returns a section with what records it. A section in a transaction carries its own
// entry, because that costs no round trip and cannot be lost: tern sends both in one message. It
// runs as the section left the session, so every name has a schema.
func (r *run) recording(mig *Migration, direction Direction) string {
	sql := mig.sql(direction)
	if sql == "" || !mig.Transactional(direction) {
		return sql
	}
	// The line's end closes a comment, the semicolon a last statement that has none.
	return sql + "\n;\n" + r.entrySQL(mig, Action(direction), ProgressDone,
		"1000 * extract(epoch from pg_catalog.clock_timestamp() - pg_catalog.now())")
}

// entrySQL adds an entry. duration is SQL, in milliseconds.
func (r *run) entrySQL(mig *Migration, action Action, progress Progress, duration string) string {
	return fmt.Sprintf(`insert into %s.history (version_table, version, name, action, progress, checksum,
		started_at, duration_ms, role, client) `+
		`values (%s, %d, %s, %s, %s, %s, pg_catalog.now(), %s, session_user, %s)`,
		r.m.settings.historySchema, literal(r.m.settings.versionTable), mig.Version, literal(mig.Name),
		literal(string(action)),
		literal(string(progress)), literal(mig.Checksum()), duration, literal(r.client))
}

// literal quotes s for any value of standard_conforming_strings.
func literal(s string) string {
	quoted := "'" + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + quoted
	}
	return quoted
}

// clientName is who runs this process, as far as the system knows.
func clientName() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return name + "@" + host
}
