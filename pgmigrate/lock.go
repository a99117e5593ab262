package pgmigrate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/sethvargo/go-retry"
)

const (
	// migrationLock is the key of tern's session lock (lockNum in tern's migrate.go), so that tern
	// waits for pgmigrate too.
	migrationLock int64 = 9628173550095224

	// lockPoll is shorter than any migration, and much longer than a poll takes.
	lockPoll = 200 * time.Millisecond
)

var errLockHeld = errors.New("another instance holds the migration lock")

// lock waits for the migration lock until ctx ends. It polls: a session that waits inside
// pg_advisory_lock holds a snapshot, and CREATE INDEX CONCURRENTLY waits for all older snapshots,
// so the two would deadlock.
func (r *run) lock(ctx context.Context) error {
	held := errLockHeld
	waiting := false
	backoff := retry.WithJitterPercent(50, retry.NewConstant(lockPoll))
	err := retry.Do(ctx, backoff, func(ctx context.Context) error {
		var ok bool
		err := r.conn.QueryRow(ctx, "select pg_catalog.pg_try_advisory_lock($1)", pgx.QueryExecModeExec,
			migrationLock).Scan(&ok)
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

// readHolder returns nil if no session has the lock. A standby does not see the locks of its
// primary: there it assumes that a session has it.
func readHolder(ctx context.Context, conn *pgx.Conn) (*holder, error) {
	h := &holder{}
	// A bigint key is split over classid and objid, with objsubid 1.
	err := conn.QueryRow(ctx, `
select l.pid, coalesce(a.application_name, ''), coalesce(pg_catalog.host(a.client_addr), 'local')
from pg_catalog.pg_locks l left join pg_catalog.pg_stat_activity a using (pid)
where l.locktype = 'advisory' and l.granted and l.objsubid = 1
  and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
  and ((l.classid::bigint << 32) | l.objid::bigint) = $1
union all select 0, '', 'primary' where pg_catalog.pg_is_in_recovery()
limit 1`, pgx.QueryExecModeExec, migrationLock).Scan(&h.pid, &h.application, &h.address)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look for the migration lock: %w", err)
	default:
		return h, nil
	}
}
