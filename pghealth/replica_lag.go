package pghealth

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// positionQuery reads how far the primary has written. A standby in its place has no answer.
const positionQuery = `select case when pg_is_in_recovery() then null else (pg_current_wal_lsn() - '0/0')::bigint end`

// lagQuery reads a replica's state: whether it is one, whether replay is paused, how far it has
// replayed, seconds since the commit that it replayed last, whether it has a receiver, how far the
// primary had written according to the last message to that, seconds since that message, the
// server's start, which tells one server from another behind one address, after how many seconds of
// silence the receiver gives up, and how much was received, which is less after a restart of the
// receiver. A receiver that does not stream, because the replica cannot follow this primary, does
// not count. Message and status are hidden from roles without pg_read_all_stats.
const lagQuery = `select pg_is_in_recovery()::int,
	case when pg_is_in_recovery() then pg_is_wal_replay_paused()::int else 0 end,
	(pg_last_wal_replay_lsn() - '0/0')::bigint, extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()),
	count(*), max(latest_end_lsn - '0/0')::bigint, extract(epoch from clock_timestamp() - max(last_msg_receipt_time)),
	pg_postmaster_start_time(), extract(epoch from current_setting('wal_receiver_timeout')::interval),
	(pg_last_wal_receive_lsn() - '0/0')::bigint
	from pg_stat_wal_receiver where coalesce(status, 'streaming') = 'streaming'`

// walPosition is how far the primary had written at a moment.
type walPosition struct {
	lsn int64
	at  time.Time
}

// maxAhead bounds the memory of a replica that stays behind.
const maxAhead = 64

// lagTracker compares a replica with the primary's positions at earlier looks. A replica that has
// not replayed what the primary had written a second ago is at least a second behind; one that has
// is at most a second behind.
type lagTracker struct {
	server string        // which replica
	passed time.Time     // the replica has everything from before; zero: not known
	ahead  []walPosition // not replayed when last looked at, oldest first
	asked  int64         // the position that Options.Primary reported last
	absent time.Time     // since when no look has seen a receiver; zero: the last one did
}

// look forgets what it knows of another replica, and notes whether this one has a receiver.
func (t *lagTracker) look(server string, receiving bool) {
	if t.server != server {
		*t = lagTracker{server: server}
	}
	switch {
	case receiving:
		t.absent = time.Time{}
	case t.absent.IsZero():
		t.absent = time.Now()
	}
}

// noteAsked takes in the position that Options.Primary reported. The position of one primary never
// decreases. A lower one comes from another primary, which may have lost the earlier positions.
func (t *lagTracker) noteAsked(primary walPosition) {
	if primary.lsn < t.asked {
		t.ahead = nil
	}
	t.asked = primary.lsn
}

// advance takes in how far the replica has replayed and, unless it is zero, the primary's position.
func (t *lagTracker) advance(replayed int64, primary walPosition) {
	for len(t.ahead) > 0 && replayed >= t.ahead[0].lsn {
		t.passed, t.ahead = t.ahead[0].at, t.ahead[1:]
	}
	switch n := len(t.ahead); {
	case primary.at.IsZero():
	case replayed >= primary.lsn:
		t.passed, t.ahead = primary.at, nil
	case n == 0 || t.ahead[n-1].lsn < primary.lsn:
		if n == maxAhead { // keep every second one, and the oldest
			for i := range n / 2 {
				t.ahead[i] = t.ahead[2*i]
			}
			t.ahead = t.ahead[:n/2]
		}
		t.ahead = append(t.ahead, primary)
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

// silenceSlack is added to half of wal_receiver_timeout, after which the receiver of an idle
// primary asks for a message.
const silenceSlack = 5 * time.Second

// replicaState is what lagQuery tells.
type replicaState struct {
	standby, paused, receiving bool

	server   string
	replayed int64
	received walPosition   // the primary had written at least this
	told     walPosition   // by the primary's last message; zero: hidden, or none came
	patience time.Duration // how long an idle primary may say nothing
	commit   time.Duration // since the last one that was replayed; negative: none
}

func (d *database) readReplica(ctx context.Context) (s replicaState, err error) {
	err = d.session.do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		asked := time.Now()
		row, err := queryRow(ctx, conn, lagQuery)
		if err != nil {
			return err
		}
		c := columns{row: row}
		s = replicaState{
			standby: c.number(0) == 1, paused: c.number(1) == 1, receiving: c.number(4) > 0,
			server: string(row[7]), replayed: c.number(2), commit: -1, patience: math.MaxInt64,
		}
		if row[3] != nil {
			s.commit = c.seconds(3)
		}
		if row[5] != nil && row[6] != nil {
			s.told = walPosition{c.number(5), asked.Add(-c.seconds(6))}
		}
		if timeout := c.seconds(8); timeout > 0 {
			s.patience = timeout/2 + silenceSlack
		}
		if row[9] != nil {
			s.received = walPosition{c.number(9), asked}
		}
		return c.err
	})
	return s, err
}

// columns reads a row of numbers. NULL is 0. It keeps the first error.
type columns struct {
	row [][]byte
	err error
}

func (c *columns) number(i int) int64 {
	if c.row[i] == nil {
		return 0
	}
	n, err := strconv.ParseInt(string(c.row[i]), 10, 64)
	c.err = cmp.Or(c.err, err)
	return n
}

// seconds returns 0 for less, which comes from clocks that differ.
func (c *columns) seconds(i int) time.Duration {
	seconds, err := strconv.ParseFloat(string(c.row[i]), 64)
	if err == nil && !(seconds < math.MaxInt64/float64(time.Second)) {
		err = fmt.Errorf("%v is no number of seconds", seconds)
	}
	c.err = cmp.Or(c.err, err)
	return time.Duration(max(seconds, 0) * float64(time.Second))
}

// measureReplicaLag fails beyond Options.MaxReplicaLag only, and only for what is known: the time
// since the first look at a position that the replica has not replayed, the silence of a primary
// that is longer than an idle one's, or the time since the first look that saw no receiver.
// Otherwise the lag is an upper bound, which warns.
func (d *database) measureReplicaLag(ctx context.Context) observation {
	primary := d.primaryPosition(ctx) // before the replica's, which must not seem ahead
	s, err := d.readReplica(ctx)
	if err != nil {
		return d.asBusy(unread(err, "the replica's lag could not be read"))
	}
	seen := observation{Status: pass, Figures: map[string]int64{
		"inRecovery": count(s.standby), "paused": count(s.paused), "receivers": count(s.receiving),
	}}
	if !s.standby {
		return seen.withValue(0, "s", "not a replica")
	}

	d.lag.look(s.server, s.receiving)
	d.replay.look(s.server, s.receiving)
	silent := primary.at.IsZero() // the last message is all there is
	if silent {
		primary = s.told
	} else {
		d.lag.noteAsked(primary)
	}
	unknown := primary.at.IsZero()
	d.lag.advance(s.replayed, primary)
	ahead := d.lag.ahead
	if unknown {
		d.replay.advance(s.replayed, s.received)
		// Less is no proof that the replica keeps up: it may receive slowly.
		if ahead = d.replay.ahead; len(ahead) > 0 && !reaches(time.Since(ahead[0].at), d.opts.MaxReplicaLag) {
			ahead = nil
		}
	}
	var lag time.Duration
	behind, known, bound := len(ahead) > 0, !d.lag.passed.IsZero(), "at most "
	switch {
	case behind:
		lag, bound = time.Since(ahead[0].at), "at least "
	case known:
		lag = time.Since(d.lag.passed)
	}
	// The time since the last commit compares two machines' clocks, and also grows while nobody
	// commits. It fills in where the positions say nothing.
	tells := reaches(lag, d.opts.WarnReplicaLag) || reaches(lag, d.opts.MaxReplicaLag)
	fresh := behind && !known && !tells && s.commit > lag
	switch {
	case fresh: // at the first looks the positions have no past
		lag, bound = s.commit, "at most "
	case s.commit < 0 || behind:
	case !known:
		lag, known = s.commit, true
	case unknown:
		lag = min(lag, s.commit)
	}
	known = known || behind
	if known {
		seen = seen.withValue(lag.Seconds(), "s", bound+humanize(lag)+" behind")
	}

	is, why, proven := "is ", "", true
	switch {
	case fresh:
		is, why, proven = "may be ", ": its lag was not measured for long enough yet", false
	case behind:
	case unknown: // it may be up to date, for all that is known
		is, why = "may be ", ": the primary's position is not known"
		proven = !d.lag.absent.IsZero() && reaches(time.Since(d.lag.absent), d.opts.MaxReplicaLag)
	case silent:
		is, why = "may be ", ": nothing came from the primary for that long"
	}
	idle := silent && !behind && !unknown && lag < s.patience
	tooFar := reaches(lag, d.opts.MaxReplicaLag) && !idle
	switch {
	case !known:
		seen.Status, seen.Output = fail, "the replica cannot tell how far behind it is"
		if s.receiving {
			seen.Status = warn
		}
	case tooFar && proven:
		seen.Status, seen.Output = fail, "the replica "+is+"too far behind"+why
	case tooFar, reaches(lag, d.opts.WarnReplicaLag) && !idle:
		seen.Status, seen.Output = warn, "the replica "+is+"far behind"+why
	case s.paused:
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
