package replica

import (
	"context"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
)

// lookSQL is a replica's state. The second column is how old the last replayed transaction is, in
// seconds, and NaN if there is none. That says how far the replica is behind only if it is behind:
// it grows while there are no writes.
//
// There is no function for the timeline that is replayed. What the receiver streams is at least
// that one, and a replica that has gone another way cannot stream it; received_tli is NULL for
// roles without pg_read_all_stats. The control file's values are behind what is replayed, never
// ahead. The position is read before the timeline, as a position on the old timeline must not be
// taken for one on the new.
const lookSQL = `select pg_is_in_recovery(),
	coalesce(extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::float8, 'NaN'),
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
	end, known := s.cluster.position.fresh(ctx)
	// In one message, and without a name for it: there may be PgBouncer in between.
	err := s.conn.QueryRow(ctx, lookSQL, pgx.QueryExecModeSimpleProtocol).Scan(&standby, &behind,
		&lsn, &system, &timeline)
	if err != nil {
		return nil, unsupported(err)
	}
	at := position{flushed: uint64(lsn), timeline: uint32(timeline)}
	seen := &state{lag: s.lag(at, behind, end, known)}
	switch {
	case s.cluster.system != 0 && uint64(system) != s.cluster.system:
		seen.err, seen.lag = ErrOtherCluster, unknownLag
		return seen, nil
	case !standby:
		seen.err, seen.lag = ErrNotStandby, unknownLag
		return seen, nil
	}
	s.cluster.position.noteTimeline(at.timeline)
	if limit := s.cluster.maxLag; limit > 0 && (seen.lag < 0 || seen.lag > limit) {
		seen.err = &LagError{Lag: seen.lag, Limit: limit}
		return seen, nil
	}
	seen.replayed = Token{system: uint64(system), timeline: at.timeline, lsn: uint64(lsn)}
	return seen, nil
}

// lag measures against the primary's position, not against what the replica happens to have
// received: a receiver that just started again has replayed all it received, and may lack hours.
//
// If the replica has replayed up to end, where the primary was a moment ago, it lacks nothing.
// Otherwise it has at least what the primary had when it was last seen at a position that the
// replica covers. That is also the answer while the primary does not answer: reads go on for as
// long as the limit allows.
//
// Positions of two timelines say nothing about each other. On another timeline than the primary's,
// and if the replica covers no known position, the lag is the age of the last transaction that the
// replica has replayed. It is negative if that is not known either.
func (s *standby) lag(replayed position, behind float64, end position, known bool) time.Duration {
	sameTimeline := !known || end.timeline == replayed.timeline
	if known && sameTimeline && replayed.flushed >= end.flushed {
		return 0
	}
	if at, ok := s.cluster.position.covered(replayed); ok && sameTimeline {
		return time.Since(at)
	}
	if math.IsNaN(behind) {
		return unknownLag
	}
	// At least a moment: the primary's clock may be ahead, and 0 means that nothing is missing.
	return max(time.Duration(behind*float64(time.Second)), time.Nanosecond)
}
