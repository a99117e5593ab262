package pgmigrate

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/sethvargo/go-retry"
)

const (
	// migrationLock is the key of tern's session lock (lockNum in tern's migrate.go), so that tern
	// waits for pgmigrate too.
	migrationLock int64 = 9628173550095224

	// sectionLock is held by the second session of a section without a transaction. The section may
	// release the migration lock, but not this one, and nobody takes the migration lock meanwhile.
	sectionLock = migrationLock + 1

	// lockPoll is shorter than any migration, and much longer than a poll takes.
	lockPoll = 200 * time.Millisecond
)

var errLockHeld = errors.New("another instance holds the migration lock")

// lock waits for the migration lock until ctx ends. It polls: a session that waits inside
// pg_advisory_lock holds a snapshot, and CREATE INDEX CONCURRENTLY waits for all older snapshots,
// so the two would deadlock.
func (r *run) lock(ctx context.Context) error { return r.pollLock(ctx, r.conn, takeLockSQL) }

var (
	takeLockSQL = "select case when exists (select" + lockedSQL(sectionLock) + ") then false else " +
		"pg_catalog.pg_try_advisory_lock(" + strconv.FormatInt(migrationLock, 10) + ") end"
	takeSectionLockSQL = "select pg_catalog.pg_try_advisory_lock(" + strconv.FormatInt(sectionLock, 10) + ")"
)

// lockedSQL is the rest of a query for the sessions that hold one of the locks. A bigint key is
// split over classid and objid, with objsubid 1.
func lockedSQL(keys ...int64) string {
	list := strings.Trim(fmt.Sprint(keys), "[]")
	return ` from pg_catalog.pg_locks l where l.locktype = 'advisory' and l.granted and l.objsubid = 1
  and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
  and ((l.classid::bigint << 32) | l.objid::bigint) in (` + strings.ReplaceAll(list, " ", ", ") + ")"
}

// pollLock runs takeSQL on conn until it takes its lock.
func (r *run) pollLock(ctx context.Context, conn *pgx.Conn, takeSQL string) error {
	held := errLockHeld
	waiting := false
	backoff := retry.WithJitterPercent(50, retry.NewConstant(lockPoll))
	err := retry.Do(ctx, backoff, func(ctx context.Context) error {
		var ok bool
		err := conn.QueryRow(ctx, takeSQL, pgx.QueryExecModeExec).Scan(&ok)
		if err != nil || ok {
			return err
		}
		if !waiting {
			waiting = true
			if h, err := readHolder(ctx, r.conn); err == nil && h != nil { // else it was released
				held = fmt.Errorf("%w (pid %d, application %q, client %s)", held, h.pid, h.application, h.address)
			}
			r.m.settings.logger.Info("waiting: " + held.Error())
			r.m.settings.event(Event{Kind: EventWaiting, Err: held})
		}
		return retry.RetryableError(held)
	})
	if err == nil {
		return nil
	}
	if waiting && ctx.Err() != nil {
		return fmt.Errorf("wait for the migration lock: %w: %w", held, err)
	}
	return fmt.Errorf("take the migration lock: %w", err)
}

// holder is the session that has the migration lock, as far as this role may see it.
type holder struct {
	pid                  uint32
	application, address string
}

// readHolder returns nil if no session holds the migration lock or the lock of a section. A standby
// does not see the locks of its primary: there it assumes that a session holds one.
func readHolder(ctx context.Context, conn *pgx.Conn) (*holder, error) {
	h := &holder{}
	err := conn.QueryRow(ctx, `
with held as (select l.pid`+lockedSQL(migrationLock, sectionLock)+`)
select pid, coalesce(a.application_name, ''), coalesce(pg_catalog.host(a.client_addr), 'local')
from held left join pg_catalog.pg_stat_activity a using (pid)
union all select 0, '', 'primary' where pg_catalog.pg_is_in_recovery()
limit 1`, pgx.QueryExecModeExec).Scan(&h.pid, &h.application, &h.address)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look for the migration lock: %w", err)
	default:
		return h, nil
	}
}
