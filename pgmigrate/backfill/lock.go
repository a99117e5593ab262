package backfill

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// lockKey is the key of an advisory lock. Those of two names do not meet.
func lockKey(name string) string {
	sum := sha256.Sum256([]byte(name))
	return strconv.FormatInt(int64(binary.BigEndian.Uint64(sum[:])), 10)
}

// workersKey is that of the lock that workers share with their sessions. Restart takes it alone.
func (r *Runner) workersKey(b *Backfill) string {
	return lockKey("pgmigrate backfill " + r.opts.VersionTable + " " + b.Name)
}

// endKey is that of the lock that the worker takes which verifies and finishes.
func (r *Runner) endKey(b *Backfill) string {
	return lockKey("pgmigrate backfill end " + r.opts.VersionTable + " " + b.Name)
}

// tryLock takes a lock of the session with one of the server's functions.
func (r *Runner) tryLock(ctx context.Context, conn *pgx.Conn, function, key string) (ok bool, err error) {
	err = conn.QueryRow(ctx, "select "+function+"("+key+")", pgx.QueryExecModeExec).Scan(&ok)
	if err != nil {
		return false, fmt.Errorf("take an advisory lock: %w", err)
	}
	return ok, nil
}

const (
	lockAlone  = "pg_catalog.pg_try_advisory_lock"
	lockShared = "pg_catalog.pg_try_advisory_lock_shared"
)

// countWorkers returns how many sessions share the lock. A bigint key is split over classid and
// objid, with objsubid 1.
func (r *Runner) countWorkers(ctx context.Context, conn *pgx.Conn, b *Backfill) (n int, err error) {
	err = conn.QueryRow(ctx, `
select count(*) from pg_catalog.pg_locks l where l.locktype = 'advisory' and l.mode = 'ShareLock' and l.granted
  and l.objsubid = 1
  and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
  and ((l.classid::bigint << 32) | l.objid::bigint) = `+r.workersKey(b), pgx.QueryExecModeExec).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("look for the workers of backfill %s: %w", b.Name, err)
	}
	return n, nil
}

// lock waits while the backfill is being restarted. It polls, because a session that waits inside a
// statement holds a snapshot.
func (w *worker) lock(ctx context.Context) error {
	for {
		ok, err := w.tryLock(ctx, w.conn, lockShared, w.workersKey(w.backfill))
		if err != nil || ok {
			return err
		}
		if err := sleep(ctx, poll); err != nil {
			return fmt.Errorf("backfill %s: it is being restarted: %w", w.backfill.Name, err)
		}
	}
}

// waitForBatches waits for the batches that run. A batch locks its range before it reads the
// backfill's row: so it has read that as it is now, or its lock is waited for here.
func (r *Runner) waitForBatches(ctx context.Context, q querier, name string) error {
	_, err := q.Exec(ctx, "select from "+r.rangeTable()+" where version_table = $1 and name = $2 order by number for "+
		"update", pgx.QueryExecModeExec, r.opts.VersionTable, name)
	if err != nil {
		return fmt.Errorf("wait for the batches that run: %w", err)
	}
	return nil
}
