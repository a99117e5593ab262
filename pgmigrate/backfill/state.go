package backfill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgmigrate/internal/gate"
	"github.com/page-builder/persistence/pgmigrate/internal/session"
)

// State is where a backfill stands. Whether a worker is at it, Status.Running says.
type State string

// The states. Only Run makes a backfill started, done or failed.
const (
	StatePending  State = "pending"  // it has not begun, or what it did was rolled back since
	StateStarted  State = "started"  // it is to be worked on
	StatePaused   State = "paused"   // [Runner.Pause]: a worker waits
	StateFailed   State = "failed"   // a batch cannot succeed, or the verification found wrong rows
	StateCanceled State = "canceled" // [Runner.Cancel]: only [Runner.Restart] begins it again
	StateDone     State = gate.Done
)

// Status is where a backfill stands, as of its last batch.
type Status struct {
	Name      string
	State     State
	Edited    bool  // the file's [Backfill.Checksum] is not the one that it began with
	Running   bool  // a worker holds its lock; not known on a standby
	Rows      int64 // passed so far
	Total     int64 // the planner's estimate, at least Rows
	Batches   int64
	BatchSize int           // rows of the next batch
	Rate      float64       // rows a second, waiting included; a mean of about the last ten batches
	Left      time.Duration // at that rate; 0 if unknown
	Attempts  int           // failures since the last batch
	Error     string        // of the last failure since; no values of rows
	Waiting   string        // what holds it up; "" if nothing does
	Client    string        // user@host of the process that worked on it last
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

// record is the row of a backfill. Its own columns only change under a lock on the row, so that
// Pause and Cancel wait for the present batch, and a worker that has lost its session cannot
// interfere with the next.
type record struct {
	Status
	checksum string
	undone   bool
	lastKey  []string // nil before the first batch
}

const recordColumns = `state, checksum, last_key, rows_done, rows_total, batches, batch_size, rate, attempts,
  coalesce(error, ''), coalesce(waiting, ''), client, started_at, updated_at, coalesce(ended_at, 'epoch')`

// querier is a connection or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

func (r *Runner) table() string { return r.opts.HistorySchema + ".backfill" }

// read returns the record; lock is "for update" or "". A backfill without a row is pending.
func (r *Runner) read(ctx context.Context, q querier, b *Backfill, lock string) (record, error) {
	rec := record{Status: Status{Name: b.Name, State: StatePending}, checksum: b.Checksum()}
	var history *string
	err := q.QueryRow(ctx, "select to_regclass($1)::text where to_regclass($2) is not null",
		pgx.QueryExecModeExec, r.opts.HistorySchema+".history", r.table()).Scan(&history)
	if errors.Is(err, pgx.ErrNoRows) {
		return rec, nil
	}
	if err != nil {
		return rec, fmt.Errorf("read backfill %s: %w", b.Name, err)
	}
	undone := "false"
	if history != nil {
		undone = gate.Undone(r.opts.HistorySchema)
	}
	s := &rec.Status
	err = q.QueryRow(ctx, "select "+undone+", "+recordColumns+" from "+r.table()+
		" b where version_table = $1 and name = $2 "+lock, pgx.QueryExecModeExec, r.opts.VersionTable, b.Name).
		Scan(&rec.undone, &s.State, &rec.checksum, &rec.lastKey, &s.Rows, &s.Total, &s.Batches, &s.BatchSize, &s.Rate,
			&s.Attempts, &s.Error, &s.Waiting, &s.Client, &s.StartedAt, &s.UpdatedAt, &s.EndedAt)
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
	rec.Left = 0
	if rec.Rate > 0 && rec.State != StateDone {
		rec.Left = time.Duration(float64(rec.Total-rec.Rows) / rec.Rate * float64(time.Second)).Round(time.Second)
	}
}

// Status returns where the folder's backfills stand, by name. It takes no lock and cannot write.
func (r *Runner) Status(ctx context.Context) ([]Status, error) {
	var list []Status
	err := r.with(ctx, func(conn *pgx.Conn) error {
		for i := range r.backfills {
			b := &r.backfills[i]
			rec, err := r.read(ctx, conn, b, "")
			if err != nil {
				return err
			}
			if rec.undone {
				rec.Status = Status{Name: b.Name, State: StatePending}
			}
			if rec.Running, err = r.isLocked(ctx, conn, b); err != nil {
				return err
			}
			list = append(list, rec.Status)
		}
		return nil
	})
	return list, err
}

// Pause makes the backfill's worker wait, now or when it comes. When Pause returns, no batch runs:
// it waits for the present one. A backfill that is done or canceled is a *[StateError].
func (r *Runner) Pause(ctx context.Context, name string) error {
	return r.change(ctx, name, StatePaused, StatePending, StateStarted, StatePaused)
}

// Cancel ends the backfill's worker, which returns a *[StateError]. When Cancel returns, no batch
// runs. What the batches did stays. A backfill that is done is a *[StateError].
func (r *Runner) Cancel(ctx context.Context, name string) error {
	return r.change(ctx, name, StateCanceled, StatePending, StateStarted, StatePaused, StateFailed, StateCanceled)
}

// Resume lets a backfill that was paused or has failed go on behind its last batch, with the file
// as it is now. A worker that waits goes on by itself; otherwise call Run. One that never began, is
// done or is canceled is a *[StateError].
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
		if err := r.createTable(ctx, conn); err != nil {
			return err
		}
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			// The batch that runs ends within its own limits, and ctx limits this.
			if _, err := tx.Exec(ctx, "set local lock_timeout = 0"); err != nil {
				return err
			}
			rec, err := r.read(ctx, tx, b, "for update")
			if err != nil {
				return err
			}
			if rec.undone {
				if err := r.delete(ctx, tx, b); err != nil {
					return err
				}
				rec.State = StatePending
			}
			allowed := false
			for _, s := range from {
				allowed = allowed || rec.State == s
			}
			if !allowed {
				return &StateError{Name: name, State: rec.State, Reason: rec.Error}
			}
			if rec.State == StatePending {
				return r.insert(ctx, tx, b, to)
			}
			set := "state = $3"
			if to == StateStarted {
				set += ", checksum = $4, attempts = 0, error = null, waiting = null"
			} else {
				set += ", checksum = coalesce(checksum, $4)"
			}
			_, err = tx.Exec(ctx, "update "+r.table()+" set "+set+
				", updated_at = clock_timestamp() where version_table = $1 and name = $2",
				pgx.QueryExecModeExec, r.opts.VersionTable, name, string(to), b.Checksum())
			return err
		})
	})
}

// Restart forgets the progress of a backfill, so that the next Run begins at the first row. What
// the batches did stays. It is an error if a worker runs: cancel it first.
func (r *Runner) Restart(ctx context.Context, name string) error {
	b, err := r.find(name)
	if err != nil {
		return err
	}
	return r.with(ctx, func(conn *pgx.Conn) error {
		ok, err := r.tryLock(ctx, conn, b)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("restart backfill %s: a worker runs: cancel it first", name)
		}
		defer session.Unlock(ctx, conn)
		if err := r.createTable(ctx, conn); err != nil {
			return err
		}
		return r.delete(ctx, conn, b)
	})
}

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
		_, err = q.Exec(ctx, "insert into "+r.table()+" (version_table, name, checksum, state, version, batch_size, "+
			"client) values ($1, $2, $3, $4, "+version+", $5, $6) on conflict do nothing", pgx.QueryExecModeExec,
			r.opts.VersionTable, b.Name, b.Checksum(), string(state), firstSize, session.ClientName())
	}
	if err != nil {
		return fmt.Errorf("begin backfill %s: %w", b.Name, err)
	}
	return nil
}

// createTable makes what is missing of schema and table. Processes that do so at once take turns.
func (r *Runner) createTable(ctx context.Context, conn *pgx.Conn) error {
	var schema, table bool
	exists := func(q querier) error {
		return q.QueryRow(ctx, "select to_regnamespace($1) is not null, to_regclass($2) is not null",
			pgx.QueryExecModeExec, r.opts.HistorySchema, r.table()).Scan(&schema, &table)
	}
	err := exists(conn)
	if err == nil && !table {
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "set local lock_timeout = 0; select pg_advisory_xact_lock("+
				lockKey("pgmigrate backfill table")+")"); err != nil {
				return err
			}
			if err := exists(tx); err != nil || table {
				return err
			}
			sql := createSQL
			if !schema {
				sql = "create schema SCHEMA; " + sql
			}
			_, err := tx.Exec(ctx, replaceSchema(sql, r.opts.HistorySchema))
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
  state text not null,
  version int4 not null, -- of the database when the backfill began
  last_key text[], -- of the last batch; null before the first
  rows_done int8 not null default 0,
  rows_total int8 not null default 0,
  batches int8 not null default 0,
  batch_size int4 not null,
  rate float8 not null default 0, -- rows a second
  attempts int4 not null default 0, -- failures since the last batch
  error text,
  waiting text,
  client text not null,
  started_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  primary key (version_table, name)
)`
