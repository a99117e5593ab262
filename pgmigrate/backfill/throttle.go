package backfill

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgerr"
)

// load is what the server feels.
type load struct {
	asked   time.Time
	waiting string // what the batches wait for; "" if nothing
	blind   bool   // a warning has said that the role does not see everything
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
  pg_catalog.pg_has_role('pg_read_all_stats', 'usage')`

// waitForLoad returns when the server can take another batch.
func (w *worker) waitForLoad(ctx context.Context) error {
	if time.Since(w.load.asked) < poll {
		return nil
	}
	for {
		waiting, err := w.askLoad(ctx)
		if err != nil {
			return err
		}
		if waiting == "" {
			w.load.waiting, w.load.asked = "", time.Now()
			return nil
		}
		if w.load.waiting == "" {
			w.log.Warn("the backfill waits", "reason", waiting)
		}
		w.load.waiting = waiting
		// Only so that Status shows it. The row is locked while a person changes its state.
		_, err = w.conn.Exec(ctx, "update "+w.table()+" set waiting = $3 where version_table = $1 and name = $2",
			pgx.QueryExecModeExec, w.opts.VersionTable, w.backfill.Name, waiting)
		if err != nil && pgerr.Of(err) != pgerr.LockTimeout {
			return fmt.Errorf("backfill %s: %w", w.backfill.Name, err)
		}
		w.record.Waiting = waiting
		w.report()
		if err := sleep(ctx, poll); err != nil {
			return fmt.Errorf("backfill %s: waiting, %s: %w", w.backfill.Name, waiting, err)
		}
		// A person who pauses or cancels is heard now, not when the load has gone.
		rec, err := w.read(ctx, w.conn, w.backfill, "", 0)
		if err != nil || rec.State != StateStarted {
			return err
		}
	}
}

// askLoad returns what the batches have to wait for, or "".
func (w *worker) askLoad(ctx context.Context) (string, error) {
	var (
		lag       int64
		wait, age float64
		sees      bool
	)
	if err := w.conn.QueryRow(ctx, loadSQL, pgx.QueryExecModeExec).Scan(&lag, &wait, &age, &sees); err != nil {
		return "", fmt.Errorf("backfill %s: ask for the server's load: %w", w.backfill.Name, err)
	}
	if !sees && !w.load.blind {
		w.load.blind = true
		w.log.Warn("this role sees neither the lag of replicas nor the transactions of other roles, and does not " +
			"wait for them: grant it pg_read_all_stats")
	}
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	switch o := w.opts; {
	case o.MaxLag >= 0 && lag > o.MaxLag:
		return fmt.Sprintf("a replica is %d MiB behind", lag>>20), nil
	case o.MaxLockWait >= 0 && seconds(wait) > o.MaxLockWait:
		return fmt.Sprintf("a session waits for a lock since %s", seconds(wait).Round(time.Second)), nil
	case o.MaxTransactionAge >= 0 && seconds(age) > o.MaxTransactionAge:
		return fmt.Sprintf("a transaction is open since %s", seconds(age).Round(time.Second)), nil
	}
	return "", nil
}
