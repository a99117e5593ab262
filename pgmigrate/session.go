package pgmigrate

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// key is an advisory lock's key as pg_locks shows it: a bigint is split over classid and objid, with
// objsubid 1.
const key = "((l.classid::bigint << 32) | l.objid::bigint)"

// resetSettings brings user and settings back to what they were when the session began. The role's
// transaction_timeout must not cut a migration short; servers before PostgreSQL 17 have none.
var resetSettings = []string{
	"reset session authorization", "reset role", "reset all",
	"select pg_catalog.set_config(name, '0', false) from pg_catalog.pg_settings where name = 'transaction_timeout'",
}

// resetSQL is DISCARD ALL, except that it keeps the migration lock. It returns whether this session
// still has that lock, and how many others it has released. Locks that were taken several times need
// it several times.
var resetSQL = strings.Join(resetSettings, "; ") +
	"; close all; unlisten *; deallocate all; discard temp; discard sequences; " + fmt.Sprintf(`
select coalesce(bool_or(ours), false), count(case when not ours then released end) from (
  select l.objsubid = 1 and %[1]s = %[2]d as ours, l.*,
    case
      when l.objsubid = 1 and %[1]s = %[2]d then null
      when l.objsubid = 1 and l.mode = 'ExclusiveLock' then pg_advisory_unlock(%[1]s)
      when l.objsubid = 1 then pg_advisory_unlock_shared(%[1]s)
      when l.mode = 'ExclusiveLock' then pg_advisory_unlock(l.class, l.obj)
      else pg_advisory_unlock_shared(l.class, l.obj)
    end as released
  from (select *, classid::bigint::bit(32)::int as class, objid::bigint::bit(32)::int as obj
    from pg_catalog.pg_locks) l where l.locktype = 'advisory' and l.granted and l.pid = pg_backend_pid()
) l`, key, migrationLock)

// resetSession undoes what a file has left in the session, so that nothing of it reaches the next
// one, and waits for the migration lock if the file has released it. The session must be idle.
func (r *run) resetSession(ctx context.Context) error {
	for {
		results, err := r.conn.PgConn().Exec(ctx, resetSQL).ReadAll()
		if err != nil {
			return fmt.Errorf("reset the session: %w", err)
		}
		row := results[len(results)-1].Rows[0]
		if string(row[1]) != "0" {
			continue
		}
		if string(row[0]) == "t" {
			return nil
		}
		return r.lock(ctx)
	}
}

// holdsLock reports whether this session still has the migration lock.
func (r *run) holdsLock(ctx context.Context, from *pgx.Conn) (bool, error) {
	var held bool
	err := from.QueryRow(ctx, fmt.Sprintf(`
select exists (select from pg_catalog.pg_locks l where l.locktype = 'advisory' and l.granted
  and l.objsubid = 1 and l.pid = $1 and %s = $2)`, key), pgx.QueryExecModeExec, r.conn.PgConn().PID(),
		migrationLock).Scan(&held)
	if err != nil {
		return false, fmt.Errorf("look for the migration lock: %w", err)
	}
	return held, nil
}
