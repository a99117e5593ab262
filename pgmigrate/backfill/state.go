package backfill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgmigrate/internal/gate"
	"github.com/page-builder/persistence/pgmigrate/internal/session"
)

// State is where a backfill stands. Status.Workers says whether workers run it.
type State string

// The states. Only Run makes a backfill started, done or failed.
const (
	StatePending  State = "pending"  // it has not begun, or what it did was rolled back since
	StateStarted  State = "started"  // it is to be worked on
	StatePaused   State = "paused"   // [Runner.Pause]: its workers wait
	StateFailed   State = "failed"   // a batch cannot succeed, or the verification found wrong rows
	StateCanceled State = "canceled" // [Runner.Cancel]: only [Runner.Restart] begins it again
	StateDone     State = gate.Done
)

// Status is where a backfill stands, as of its last batch. It sums up what all workers do.
type Status struct {
	Name      string
	State     State
	Edited    bool  // the file's [Backfill.Checksum] is not the one that it began with
	Workers   int   // that are at it; not known on a standby. In Options.Progress those of this Run
	Rows      int64 // passed so far
	Total     int64 // the planner's estimate, at least Rows
	Batches   int64
	BatchSize int           // rows of the largest next batch
	Rate      float64       // rows a second in the last minute or so, waiting included
	Left      time.Duration // at that rate; 0 if unknown
	Attempts  int           // failures since the last batch, where they are most
	Error     string        // of the last failure since; no values of rows
	Waiting   string        // what holds it up; "" if nothing does
	Client    string        // user@host of the process that joined last
	StartedAt time.Time
	UpdatedAt time.Time
	EndedAt   time.Time // when it was done
}

// StateError is returned when a backfill is in a state in which a person has to decide.
type StateError struct {
	Name   string
	State  State
	Edited bool   // the file was edited since the backfill began
	Reason string // of StateFailed: the error of the batch
}

func (e *StateError) Error() string {
	text := fmt.Sprintf("backfill %s is %s", e.Name, e.State)
	if e.Edited {
		return text + ", and its file was edited since: restore it, or resume with the file as it is now if the rows " +
			"that are done need not change, or restart"
	}
	switch e.State {
	case StateFailed:
		text += ": " + e.Reason + ": when the cause is gone, resume"
	case StateCanceled:
		text += ": restart to begin again"
	case StatePending:
		text += ": run it"
	default:
	}
	return text
}

// record is the row of a backfill, with the sums of its ranges. State and checksum only change
// under a lock on the row.
type record struct {
	Status
	checksum   string
	source     string
	undone     bool
	ranges     int
	unfinished int // ranges
}

// querier is a connection or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

func (r *Runner) table() string { return r.opts.HistorySchema + ".backfill" }

// readSQL leaves rate, size and failures of one range to the batch that reads. A rate counts while
// a worker is at the range.
const readSQL = `
select UNDONE, b.state, b.checksum, b.source, b.rows_total, coalesce(b.error, g.error, ''), coalesce(b.waiting, ''),
  b.client, b.started_at, greatest(b.updated_at, g.updated_at), coalesce(b.ended_at, 'epoch'),
  g.ranges, g.unfinished, g.rows_done, g.batches, g.batch_size, g.rate, g.attempts
from SCHEMA.backfill b cross join lateral (
  select count(*) as ranges, count(*) filter (where not done) as unfinished,
    coalesce(sum(rows_done), 0)::int8 as rows_done, coalesce(sum(batches), 0)::int8 as batches,
    max(updated_at) as updated_at,
    coalesce(max(batch_size) filter (where not done and number <> $3), 0) as batch_size,
    coalesce(sum(rate) filter (where not done and number <> $3
      and updated_at > clock_timestamp() - interval '1 min'), 0) as rate,
    coalesce(max(attempts) filter (where number <> $3), 0) as attempts,
    (array_agg(error order by updated_at desc) filter (where error is not null and number <> $3))[1] as error
  from SCHEMA.backfill_range r where r.version_table = b.version_table and r.name = b.name) g
where b.version_table = $1 and b.name = $2 LOCK`

// read returns the record; lock is "for update of b" or "". own is the range of the batch that
// reads, or 0. A backfill without a row is pending.
func (r *Runner) read(ctx context.Context, q querier, b *Backfill, lock string, own int) (record, error) {
	rec := record{Status: Status{Name: b.Name, State: StatePending}, checksum: b.Checksum(), source: b.source()}
	var history, ranges *string
	err := q.QueryRow(ctx, "select to_regclass($1)::text, to_regclass($2)::text where to_regclass($3) is not null",
		pgx.QueryExecModeExec, r.opts.HistorySchema+".history", r.rangeTable(), r.table()).Scan(&history, &ranges)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return rec, nil
	case err == nil && ranges == nil:
		return rec, fmt.Errorf("backfill %s: the table %s was made by an older version of pgmigrate: finish or cancel "+
			"its backfills with that version, then drop the table", b.Name, r.table())
	case err != nil:
		return rec, fmt.Errorf("read backfill %s: %w", b.Name, err)
	}
	undone := "false"
	if history != nil {
		undone = gate.Undone(r.opts.HistorySchema)
	}
	s := &rec.Status
	sql := strings.NewReplacer("SCHEMA", r.opts.HistorySchema, "UNDONE", undone, "LOCK", lock).Replace(readSQL)
	err = q.QueryRow(ctx, sql, pgx.QueryExecModeExec, r.opts.VersionTable, b.Name, own).
		Scan(&rec.undone, &s.State, &rec.checksum, &rec.source, &s.Total, &s.Error, &s.Waiting, &s.Client, &s.StartedAt,
			&s.UpdatedAt, &s.EndedAt, &rec.ranges, &rec.unfinished, &s.Rows, &s.Batches, &s.BatchSize, &s.Rate,
			&s.Attempts)
	if errors.Is(err, pgx.ErrNoRows) {
		return rec, nil
	}
	if err != nil {
		return rec, fmt.Errorf("read backfill %s: %w", b.Name, err)
	}
	if s.EndedAt.Unix() == 0 {
		s.EndedAt = time.Time{}
	}
	rec.derive(b)
	return rec, nil
}

// derive computes what follows from the other fields.
func (rec *record) derive(b *Backfill) {
	rec.Edited = rec.checksum != b.Checksum()
	rec.Total = max(rec.Total, rec.Rows)
	if rec.State == StateDone {
		rec.Total = rec.Rows
	}
	rec.Left = 0
	if rec.Rate > 0 {
		rec.Left = time.Duration(float64(rec.Total-rec.Rows) / rec.Rate * float64(time.Second)).Round(time.Second)
	}
}

// Status returns where the folder's backfills stand, by name. It takes no lock and cannot write.
func (r *Runner) Status(ctx context.Context) ([]Status, error) {
	var list []Status
	err := r.with(ctx, func(conn *pgx.Conn) error {
		for i := range r.backfills {
			b := &r.backfills[i]
			rec, err := r.read(ctx, conn, b, "", 0)
			if err != nil {
				return err
			}
			if rec.undone {
				rec.Status = Status{Name: b.Name, State: StatePending}
			}
			if rec.Workers, err = r.countWorkers(ctx, conn, b); err != nil {
				return err
			}
			list = append(list, rec.Status)
		}
		return nil
	})
	return list, err
}

// Pause makes the backfill's workers wait, now or when they come. When Pause returns, no batch
// runs: it waits for the present ones. A backfill that is done or canceled is a *[StateError].
func (r *Runner) Pause(ctx context.Context, name string) error {
	return r.change(ctx, name, StatePaused, StatePending, StateStarted, StatePaused)
}

// Cancel ends the backfill's workers, which return a *[StateError]. When Cancel returns, no batch
// runs. What the batches did stays. A backfill that is done is a *[StateError].
func (r *Runner) Cancel(ctx context.Context, name string) error {
	return r.change(ctx, name, StateCanceled, StatePending, StateStarted, StatePaused, StateFailed, StateCanceled)
}

// Resume lets a backfill that was paused or has failed go on behind its last batches, with the file
// as it is now; its table and key have to be the same. Workers that wait go on by themselves;
// otherwise call Run. One that never began, is done or is canceled is a *[StateError].
func (r *Runner) Resume(ctx context.Context, name string) error {
	return r.change(ctx, name, StateStarted, StateStarted, StatePaused, StateFailed)
}

// change moves a backfill from one of some states to another.
func (r *Runner) change(ctx context.Context, name string, to State, from ...State) error {
	b, err := r.find(name)
	if err != nil {
		return err
	}
	return r.with(ctx, func(conn *pgx.Conn) error {
		if err := r.createTables(ctx, conn); err != nil {
			return err
		}
		// The batches that run end within their own limits, and ctx limits this.
		if _, err := conn.Exec(ctx, "set lock_timeout = 0"); err != nil {
			return err
		}
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return r.changeRecord(ctx, tx, b, to, from) })
		if err != nil || to == StateStarted {
			return err
		}
		if err := r.waitForBatches(ctx, conn, name); err != nil {
			return fmt.Errorf("backfill %s is %s: %w", name, to, err)
		}
		return nil
	})
}

func (r *Runner) changeRecord(ctx context.Context, tx pgx.Tx, b *Backfill, to State, from []State) error {
	rec, err := r.read(ctx, tx, b, "for update of b", 0)
	if err != nil {
		return err
	}
	if rec.undone {
		if err := r.delete(ctx, tx, b); err != nil {
			return err
		}
		rec.State = StatePending
	}
	switch {
	case !slices.Contains(from, rec.State):
		return &StateError{Name: b.Name, State: rec.State, Reason: rec.Error}
	case rec.State == StatePending:
		return r.insert(ctx, tx, b, to)
	case to == StateStarted && rec.source != b.source():
		return fmt.Errorf("resume backfill %s: it began with %s, and the file says %s: restart it", b.Name, rec.source,
			b.source())
	}
	set := "state = $3, error = null, waiting = null"
	if to == StateStarted {
		set += ", checksum = $4"
	} else {
		set += ", checksum = coalesce(checksum, $4)"
	}
	_, err = tx.Exec(ctx, "update "+r.table()+" set "+set+
		", updated_at = clock_timestamp() where version_table = $1 and name = $2",
		pgx.QueryExecModeExec, r.opts.VersionTable, b.Name, string(to), b.Checksum())
	if err == nil && to == StateStarted {
		_, err = tx.Exec(ctx, "update "+r.rangeTable()+" set attempts = 0, error = null where version_table = $1 and "+
			"name = $2 and attempts > 0", pgx.QueryExecModeExec, r.opts.VersionTable, b.Name)
	}
	return err
}

// Restart forgets the progress of a backfill, so that the next Run begins at the first row. What
// the batches did stays. It is an error if a worker runs: cancel it first.
func (r *Runner) Restart(ctx context.Context, name string) error {
	b, err := r.find(name)
	if err != nil {
		return err
	}
	return r.with(ctx, func(conn *pgx.Conn) error {
		ok, err := r.tryLock(ctx, conn, lockAlone, r.workersKey(b))
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("restart backfill %s: a worker runs: cancel it first", name)
		}
		defer session.Unlock(ctx, conn)
		if err := r.createTables(ctx, conn); err != nil {
			return err
		}
		return r.delete(ctx, conn, b)
	})
}

// delete forgets a backfill and its ranges.
func (r *Runner) delete(ctx context.Context, q querier, b *Backfill) error {
	_, err := q.Exec(ctx, "delete from "+r.table()+" where version_table = $1 and name = $2",
		pgx.QueryExecModeExec, r.opts.VersionTable, b.Name)
	if err != nil {
		return fmt.Errorf("backfill %s: forget the progress: %w", b.Name, err)
	}
	return nil
}

// firstSize is small because nothing is known about the rows yet. It doubles with each batch that
// is quick.
const firstSize = 100

// insert adds the row of a backfill, unless it is there.
func (r *Runner) insert(ctx context.Context, q querier, b *Backfill, state State) error {
	var versions *string
	err := q.QueryRow(ctx, "select to_regclass($1)::text", pgx.QueryExecModeExec, r.opts.VersionTable).Scan(&versions)
	version := "0"
	if versions != nil {
		version = "(select coalesce(max(version), 0) from " + r.opts.VersionTable + ")"
	}
	if err == nil {
		_, err = q.Exec(ctx, "insert into "+r.table()+" (version_table, name, checksum, source, state, version, "+
			"client) values ($1, $2, $3, $4, $5, "+version+", $6) on conflict do nothing", pgx.QueryExecModeExec,
			r.opts.VersionTable, b.Name, b.Checksum(), b.source(), string(state), session.ClientName())
	}
	if err != nil {
		return fmt.Errorf("begin backfill %s: %w", b.Name, err)
	}
	return nil
}

// createTables makes what is missing of schema and tables. Processes that do so at once take turns.
func (r *Runner) createTables(ctx context.Context, conn *pgx.Conn) error {
	var schema, tables bool
	exists := func(q querier) error { // to_regclass would go by what the session has cached
		return q.QueryRow(ctx, "select exists (select from pg_catalog.pg_namespace where nspname = $1), exists "+
			"(select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace "+
			"where n.nspname = $1 and c.relname = 'backfill')", pgx.QueryExecModeExec, r.opts.HistorySchema).
			Scan(&schema, &tables)
	}
	err := exists(conn)
	if err == nil && !tables {
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "set local lock_timeout = 0; select pg_advisory_xact_lock("+
				lockKey("pgmigrate backfill table")+")"); err != nil {
				return err
			}
			if err := exists(tx); err != nil || tables {
				return err
			}
			sql := createSQL
			if !schema {
				sql = "create schema SCHEMA; " + sql
			}
			_, err := tx.Exec(ctx, strings.ReplaceAll(sql, "SCHEMA", r.opts.HistorySchema))
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("create table %s: %w", r.table(), err)
	}
	return nil
}

const createSQL = `create table SCHEMA.backfill (
  version_table text not null, -- several folders may share a database
  name text not null,
  checksum text not null,
  source text not null, -- table and key
  state text not null,
  version int4 not null, -- of the database when the backfill began
  rows_total int8 not null default 0,
  error text, -- of verification or finish, or why the state is failed
  waiting text,
  client text not null,
  started_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  primary key (version_table, name)
);
create table SCHEMA.backfill_range (
  version_table text not null,
  name text not null,
  number int4 not null, -- from 1, in the order of the key
  last_key text[], -- all keys as far as this one are done; null: the first key is the first of the table
  upper_key text[], -- the last key of the range; null: the last of the table
  done boolean not null default false,
  rows_done int8 not null default 0,
  batches int8 not null default 0,
  batch_size int4 not null,
  rate float8 not null default 0, -- rows a second
  attempts int4 not null default 0, -- failures since the last batch
  error text,
  updated_at timestamptz not null default clock_timestamp(),
  primary key (version_table, name, number),
  foreign key (version_table, name) references SCHEMA.backfill on delete cascade
)`
