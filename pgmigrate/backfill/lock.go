package backfill

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// lockKey is the key of an advisory lock. Those of two names do not meet.
func lockKey(name string) string {
	sum := sha256.Sum256([]byte(name))
	return strconv.FormatInt(int64(binary.BigEndian.Uint64(sum[:])), 10)
}

// key is that of the lock that the backfill's worker holds with its session.
func (r *Runner) key(b *Backfill) string {
	return lockKey("pgmigrate backfill " + r.opts.VersionTable + " " + b.Name)
}

func (r *Runner) tryLock(ctx context.Context, conn *pgx.Conn, b *Backfill) (ok bool, err error) {
	err = conn.QueryRow(ctx, "select pg_try_advisory_lock("+r.key(b)+")", pgx.QueryExecModeExec).Scan(&ok)
	if err != nil {
		return false, fmt.Errorf("lock backfill %s: %w", b.Name, err)
	}
	return ok, nil
}

// isLocked reports whether a worker holds the lock. A bigint key is split over classid and objid,
// with objsubid 1.
func (r *Runner) isLocked(ctx context.Context, conn *pgx.Conn, b *Backfill) (held bool, err error) {
	err = conn.QueryRow(ctx, `
select exists (select from pg_catalog.pg_locks l where l.locktype = 'advisory' and l.granted and l.objsubid = 1
  and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
  and ((l.classid::bigint << 32) | l.objid::bigint) = `+r.key(b)+")", pgx.QueryExecModeExec).Scan(&held)
	if err != nil {
		return false, fmt.Errorf("look for the worker of backfill %s: %w", b.Name, err)
	}
	return held, nil
}

// lock waits until no other worker has the backfill. It polls, because a session that waits inside
// a statement holds a snapshot.
func (w *worker) lock(ctx context.Context) error {
	for told := false; ; told = true {
		ok, err := w.tryLock(ctx, w.conn, w.backfill)
		if err != nil || ok {
			return err
		}
		if !told {
			w.log.Info("waiting: another worker runs the backfill")
		}
		if err := sleep(ctx, poll); err != nil {
			return fmt.Errorf("backfill %s: another worker runs it: %w", w.backfill.Name, err)
		}
	}
}

func replaceSchema(sql, schema string) string { return strings.ReplaceAll(sql, "SCHEMA", schema) }
