package pghealth

import (
	"context"
	"time"
)

const (
	// DefaultWarnTransactionAge is longer than any transaction of a service that serves requests.
	// Vacuum removes nothing that became dead after the oldest transaction began.
	DefaultWarnTransactionAge = 5 * time.Minute
	// DefaultWarnIdleInTransaction is longer than a client that is alive pauses in a transaction.
	// Its locks stay that long.
	DefaultWarnIdleInTransaction = time.Minute
)

// oldestTransactions tells ages in seconds. Of the sessions of other roles, a role without
// pg_read_all_stats sees only that they are there: those are counted as hidden. Prepared
// transactions have no session and outlive restarts.
const oldestTransactions = `select
	coalesce(extract(epoch from max(clock_timestamp() - xact_start)), 0),
	coalesce(extract(epoch from max(clock_timestamp() - state_change) filter (where state like 'idle in transaction%')), 0),
	(select coalesce(extract(epoch from max(clock_timestamp() - prepared)), 0) from pg_prepared_xacts where database = current_database()),
	count(xact_start),
	count(*) filter (where backend_type is null and usesysid is not null)
	from pg_stat_activity
	where datname = current_database() and pid <> pg_backend_pid() and coalesce(backend_type, 'client backend') = 'client backend'`

// measureTransactions looks for transactions that are open for so long that they hurt others.
func (p *Probe) measureTransactions(ctx context.Context) observation {
	row, err := p.ask(ctx, oldestTransactions)
	if err != nil {
		return unread(err, "the server's transactions could not be read")
	}
	oldest, idle, prepared := seconds(row[0]), seconds(row[1]), seconds(row[2])
	seen := observation{status: pass}.of(max(row[0], row[2]), "s", map[string]int64{
		"open": int64(row[3]), "hidden": int64(row[4]),
		"idleInTransactionSeconds": int64(row[1]), "preparedSeconds": int64(row[2]),
	})
	switch {
	case over(prepared, p.opts.WarnTransactionAge):
		seen.status, seen.output = warn, "a prepared transaction is open for too long"
	case over(idle, p.opts.WarnIdleInTransaction):
		seen.status, seen.output = warn, "a session is idle in its transaction for too long"
	case over(oldest, p.opts.WarnTransactionAge):
		seen.status, seen.output = warn, "a transaction is open for too long"
	}
	return seen
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// over reports whether d reaches limit. A limit that is not positive is none.
func over(d, limit time.Duration) bool { return limit > 0 && d >= limit }
