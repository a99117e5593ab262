package pghealth

import (
	"context"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// positionQuery reads how far the primary has written. A standby in its place has no answer.
const positionQuery = `select case when pg_is_in_recovery() then null else (pg_current_wal_lsn() - '0/0')::bigint end`

// lagQuery reads a replica's state: whether it is one, whether replay is paused, how far it has
// replayed, seconds since the commit that it replayed last, whether it has a receiver, and how far
// the primary had written according to the last message to that. The latter is hidden from roles
// without pg_read_all_stats. What was received is of no use: a receiver that restarts begins with
// its segment again. The start tells one server from another behind one address.
const lagQuery = `select pg_is_in_recovery()::int,
	case when pg_is_in_recovery() then pg_is_wal_replay_paused()::int else 0 end,
	(pg_last_wal_replay_lsn() - '0/0')::bigint, extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()),
	(select count(*) from pg_stat_wal_receiver), (select (latest_end_lsn - '0/0')::bigint from pg_stat_wal_receiver),
	pg_postmaster_start_time()`

// walPosition is how far the primary had written at a moment.
type walPosition struct {
	lsn int64
	at  time.Time
}

// lagTracker bounds the lag of a replica by the primary's positions at earlier looks: a replica
// that has replayed what the primary had written a second ago is at most a second behind. The time
// since the last replayed commit alone also grows while nobody commits.
type lagTracker struct {
	server  string      // which replica
	passed  time.Time   // the replica has everything from before
	pending walPosition // not replayed when last looked at; zero: none
}

// advance takes in how far a replica has replayed and, unless it is zero, the primary's position.
func (t *lagTracker) advance(server string, replayed int64, primary walPosition) {
	if t.server != server {
		*t = lagTracker{server: server}
	}
	if !t.pending.at.IsZero() && replayed >= t.pending.lsn {
		t.passed, t.pending = t.pending.at, walPosition{}
	}
	switch {
	case primary.at.IsZero():
	case replayed >= primary.lsn:
		t.passed, t.pending = primary.at, walPosition{}
	case t.pending.at.IsZero():
		t.pending = primary
	}
}

// measurePosition asks the primary of a replica how far it has written.
func (d *database) measurePosition(ctx context.Context) observation {
	var position walPosition
	err := d.primary.do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		position.at = time.Now() // before the answer
		row, err := queryRow(ctx, conn, positionQuery)
		if err != nil {
			return err
		}
		if row[0] == nil {
			return errReadOnly
		}
		position.lsn, err = strconv.ParseInt(string(row[0]), 10, 64)
		return err
	})
	if err != nil {
		return failure(err, "the primary's position could not be read")
	}
	seen := observation{Status: pass}
	seen.position = position
	return seen
}

// primaryPosition returns the position that the primary reports. It waits for a part of Timeout
// only, because a replica can serve while its primary cannot.
func (d *database) primaryPosition(ctx context.Context) walPosition {
	if d.position == nil {
		return walPosition{}
	}
	return d.position.observe(ctx, d.opts.Timeout/4).position
}

// measureReplicaLag fails beyond Options.MaxReplicaLag only. The lag is an upper bound, and what is
// not known is not 0.
func (d *database) measureReplicaLag(ctx context.Context) observation {
	primary := d.primaryPosition(ctx) // before the replica's, which must not seem ahead
	var row [][]byte
	var asked time.Time
	err := d.session.do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		asked = time.Now()
		row, err = queryRow(ctx, conn, lagQuery)
		return err
	})
	if err != nil {
		return unread(err, "the replica's lag could not be read")
	}
	standby, paused, receivers := string(row[0]) == "1", string(row[1]) == "1", string(row[4]) != "0"
	seen := observation{Status: pass, Figures: map[string]int64{"inRecovery": 0, "paused": 0, "receivers": 0}}
	if !standby {
		return seen.withValue(0, "s", "not a replica")
	}
	seen.Figures["inRecovery"], seen.Figures["paused"], seen.Figures["receivers"] = 1, count(paused), count(receivers)

	if received, ok := parseInt(row[5]); ok && primary.at.IsZero() {
		primary = walPosition{received, asked}
	}
	replayed, _ := parseInt(row[2])
	d.lag.advance(string(row[6]), replayed, primary)
	lag, known := time.Duration(0), false
	if !d.lag.passed.IsZero() {
		lag, known = max(asked.Sub(d.lag.passed), 0), true
	}
	if row[3] != nil {
		seconds, err := strconv.ParseFloat(string(row[3]), 64)
		if err != nil {
			return unread(err, "the replica's lag could not be read")
		}
		since := time.Duration(max(seconds, 0) * float64(time.Second)) // the primary's clock may be ahead
		if !known || since < lag {
			lag, known = since, true
		}
	}
	if known {
		text := "caught up"
		if lag > 0 {
			text = "at most " + humanize(lag) + " behind"
		}
		seen = seen.withValue(lag.Seconds(), "s", text)
	}
	beyond, behind := "the replica is too far behind", "the replica is far behind"
	if primary.at.IsZero() {
		beyond, behind = "the replica may be too far behind: the primary's position is not known",
			"the replica may be far behind: the primary's position is not known"
	}
	switch {
	case !known:
		seen.Status, seen.Output = fail, "the replica cannot tell how far behind it is"
	case reaches(lag, d.opts.MaxReplicaLag):
		seen.Status, seen.Output = fail, beyond
	case reaches(lag, d.opts.WarnReplicaLag):
		seen.Status, seen.Output = warn, behind
	case paused:
		seen.Status, seen.Output = warn, "replay is paused on the replica"
	}
	return seen
}

func count(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// parseInt returns false for NULL.
func parseInt(value []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(value), 10, 64)
	return n, value != nil && err == nil
}
