package replica

import (
	"context"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
)

// lookSQL is a replica's state. The lag is in seconds, NaN if it is not known, and 0 if the replica
// has replayed all that it received and still receives: the time since the last replayed
// transaction alone would grow while nobody writes.
//
// There is no function for the timeline that is replayed. What the receiver streams is at least
// that one, and a replica that has gone another way cannot stream it; received_tli is NULL for
// roles without pg_read_all_stats. The control file's values are behind what is replayed, never
// ahead. The position is read before the timeline, as a position on the old timeline must not be
// taken for one on the new.
const lookSQL = `select pg_is_in_recovery(),
	case when pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn() and exists (select from pg_stat_wal_receiver) then 0
		else coalesce(extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::float8, 'NaN') end,
	coalesce(pg_last_wal_replay_lsn() - '0/0', 0)::bigint,
	(select system_identifier from pg_control_system()),
	greatest((select received_tli from pg_stat_wal_receiver), (select timeline_id from pg_control_checkpoint()),
		(select min_recovery_end_timeline from pg_control_recovery()))::bigint`

// ask returns the error of a replica that did not answer, and the state of one that did, which may
// not be usable either.
func (s *standby) ask(ctx context.Context) (*state, error) {
	var standby bool
	var behind float64
	var lsn, system, timeline int64
	asked := time.Now()
	// In one message, and without a name for it: there may be PgBouncer in between.
	err := s.conn.QueryRow(ctx, lookSQL, pgx.QueryExecModeSimpleProtocol).Scan(&standby, &behind,
		&lsn, &system, &timeline)
	if err != nil {
		return nil, unsupported(err)
	}
	seen := &state{lag: s.lag(behind, asked)}
	limit := s.cluster.maxLag
	switch {
	case s.cluster.system != 0 && uint64(system) != s.cluster.system:
		seen.err, seen.lag = ErrOtherCluster, unknownLag
	case !standby:
		seen.err, seen.lag = ErrNotStandby, unknownLag
	case limit > 0 && (seen.lag < 0 || seen.lag > limit):
		seen.err = &LagError{Lag: seen.lag, Limit: limit}
	default:
		seen.replayed = Token{system: uint64(system), timeline: uint32(timeline), lsn: uint64(lsn)}
	}
	return seen, nil
}

// lag is never more than the time since the replica had everything: when the primary is lost after
// a quiet hour, its replicas are not an hour behind, and reads go on for as long as the limit
// allows.
func (s *standby) lag(behind float64, asked time.Time) time.Duration {
	if behind == 0 {
		s.caughtUp = asked
		return 0
	}
	lag := time.Duration(unknownLag)
	if !math.IsNaN(behind) {
		lag = time.Duration(max(behind, 0) * float64(time.Second)) // the primary's clock may be ahead
	}
	if since := asked.Sub(s.caughtUp); !s.caughtUp.IsZero() && (lag < 0 || since < lag) {
		lag = since
	}
	return lag
}
