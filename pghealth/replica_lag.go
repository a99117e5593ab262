package pghealth

import (
	"context"
	"math"
	"time"
)

// DefaultWarnReplicaLag is far above the lag of a replica that keeps up, which is milliseconds.
const DefaultWarnReplicaLag = 10 * time.Second

// replicaLag is in seconds, NULL when it is not known. The time since the last replayed transaction
// alone would grow on a replica that has everything while nobody writes, so it counts only when
// there is something to replay or nobody to receive from. The receiver starts again at the
// beginning of a segment: what it received may then be less than what was replayed.
const replicaLag = `select
	case when not pg_is_in_recovery() then 0
		when pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn() and exists (select from pg_stat_wal_receiver) then 0
		else extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()) end,
	pg_is_in_recovery()::int,
	case when pg_is_in_recovery() then pg_is_wal_replay_paused()::int else 0 end,
	(select count(*) from pg_stat_wal_receiver)`

// measureReplicaLag fails beyond Options.MaxReplicaLag only; without one the check is a warning.
func (p *Probe) measureReplicaLag(ctx context.Context) observation {
	row, err := p.ask(ctx, replicaLag)
	if err != nil {
		return unread(err, "the replica's lag could not be read")
	}
	seen := observation{status: pass, figures: map[string]int64{
		"inRecovery": int64(row[1]), "paused": int64(row[2]), "receivers": int64(row[3]),
	}}
	unknown := math.IsNaN(row[0]) // it has replayed no transaction since it started
	behind := max(row[0], 0)      // the primary's clock may be ahead
	lag := seconds(behind)
	if !unknown {
		seen = seen.of(behind, "s", seen.figures)
	}
	switch {
	case unknown:
		seen.status, seen.output = fail, "the replica receives nothing and cannot tell how far behind it is"
	case over(lag, p.opts.MaxReplicaLag):
		seen.status, seen.output = fail, "the replica is too far behind"
	case over(lag, p.opts.WarnReplicaLag):
		seen.status, seen.output = warn, "the replica is far behind"
	case row[2] == 1:
		seen.status, seen.output = warn, "replay is paused on the replica"
	}
	return seen
}
