package backfill

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgerr"
)

// askInterval is how often a worker asks at most for the load, between two batches.
const askInterval = 50 * time.Millisecond

// load is what the server feels.
type load struct {
	asked   time.Time
	waiting string // what the batches wait for; "" if nothing
	blind   bool   // a warning has said that the role does not see everything

	wal   int64 // position of the server's log
	walAt time.Time
}

// The replica's position is compared with the primary's own, not with what was sent or received.
// A walsender of a base backup has no position.
const loadSQL = `
select
  coalesce((
    select max(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), replay_lsn))
    from pg_catalog.pg_stat_replication where state in ('streaming', 'catchup')), 0)::int8,
  coalesce((
    select max(extract(epoch from clock_timestamp() - l.waitstart))
    from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a using (pid)
    where not l.granted and l.locktype <> 'advisory' and a.datname = current_database()), 0)::float8,
  coalesce((
    select max(extract(epoch from clock_timestamp() - began)) from (
      select xact_start as began from pg_catalog.pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
      union all
      select prepared from pg_catalog.pg_prepared_xacts where database = current_database()) t), 0)::float8,
  case when $1 then pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')::int8 else 0 end,
  $2 and exists (
    select from pg_catalog.pg_stat_progress_vacuum v where v.datname = current_database() and (v.relid = to_regclass($3)
      or v.relid in (select relid from pg_catalog.pg_partition_tree(to_regclass($3))))),
  pg_catalog.pg_has_role('pg_read_all_stats', 'usage')`

// waitForLoad returns when the server can take another batch.
func (w *worker) waitForLoad(ctx context.Context) error {
	if time.Since(w.load.asked) < askInterval {
		return nil
	}
	for {
		waiting, err := w.askLoad(ctx)
		if err != nil {
			return err
		}
		if err := w.showWaiting(ctx, waiting); err != nil {
			return err
		}
		if waiting == "" {
			w.load.asked = time.Now()
			return nil
		}
		if err := sleep(ctx, poll); err != nil {
			return fmt.Errorf("backfill %s: waiting, %s: %w", w.backfill.Name, waiting, err)
		}
		// A person who pauses or cancels is heard now, not when the load has gone.
		rec, err := w.read(ctx, w.conn, w.backfill, "", 0)
		if err != nil {
			return err
		}
		w.load.waiting = rec.Waiting // a pause, or another worker, may have removed it
		if rec.State != StateStarted {
			return nil
		}
	}
}

// showWaiting says in the backfill's row, in the log and in a report what the batches wait for.
func (w *worker) showWaiting(ctx context.Context, waiting string) error {
	if waiting == w.load.waiting {
		return nil
	}
	// The row may be locked, while a person changes its state: then the next poll tries again.
	_, err := w.conn.Exec(ctx, "update "+w.table()+" set waiting = nullif($3, '') "+
		"where version_table = $1 and name = $2", pgx.QueryExecModeExec, w.opts.VersionTable, w.backfill.Name, waiting)
	switch {
	case pgerr.Of(err) == pgerr.LockTimeout:
		return nil
	case err != nil:
		return fmt.Errorf("backfill %s: %w", w.backfill.Name, err)
	}
	if w.load.waiting == "" {
		w.log.Warn("the backfill waits", "reason", waiting)
	}
	w.load.waiting, w.record.Waiting = waiting, waiting
	if waiting != "" {
		w.report()
	}
	return nil
}

// askLoad returns what the batches have to wait for, or "".
func (w *worker) askLoad(ctx context.Context) (string, error) {
	if w.window != nil {
		if reason := w.window.reason(time.Now()); reason != "" {
			return reason, nil
		}
	}
	var (
		lag, wal      int64
		wait, age     float64
		vacuums, sees bool
	)
	err := w.conn.QueryRow(ctx, loadSQL, pgx.QueryExecModeExec, w.opts.MaxWALRate > 0, w.opts.WaitForVacuum,
		w.source.table).Scan(&lag, &wait, &age, &wal, &vacuums, &sees)
	if err != nil {
		return "", fmt.Errorf("backfill %s: ask for the server's load: %w", w.backfill.Name, err)
	}
	if !sees && !w.load.blind {
		w.load.blind = true
		w.log.Warn("this role sees neither the lag of replicas nor the transactions and vacuums of other roles, and " +
			"does not wait for them: grant it pg_read_all_stats")
	}
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	switch o := w.opts; {
	case o.MaxLag >= 0 && lag > o.MaxLag/2: // the next batches need the other half
		return fmt.Sprintf("a replica is %d MiB behind", lag>>20), nil
	case o.MaxLockWait >= 0 && seconds(wait) > o.MaxLockWait:
		return fmt.Sprintf("a session waits for a lock since %s", seconds(wait).Round(time.Second)), nil
	case o.MaxTransactionAge >= 0 && seconds(age) > o.MaxTransactionAge:
		return fmt.Sprintf("a transaction is open since %s", seconds(age).Round(time.Second)), nil
	case vacuums:
		return "a vacuum works on the table", nil
	}
	return w.load.walReason(wal, w.opts.MaxWALRate), nil
}

// walReason says that the server has written more WAL than the limit allows since the position was
// last noted. Once the mean since then is below it, the count begins again.
func (l *load) walReason(wal, limit int64) string {
	if limit <= 0 {
		return ""
	}
	if rate := float64(wal-l.wal) / time.Since(l.walAt).Seconds(); rate > float64(limit) && l.wal > 0 {
		return fmt.Sprintf("the server writes %.0f MiB of WAL a second", rate/(1<<20))
	}
	l.wal, l.walAt = wal, time.Now()
	return ""
}
