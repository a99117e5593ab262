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

// positionQuery reads how far the primary has written. A standby answers NULL.
const positionQuery = `select case when pg_is_in_recovery() then null else (pg_current_wal_lsn() - '0/0')::bigint end`

// lagQuery reads a replica's state, which every role may see: whether it is a replica, whether
// replay is paused, how far it has replayed, seconds since the commit that it replayed last, the
// number of receivers, the server's start, and how far it has received. The start distinguishes
// servers behind one address.
const lagQuery = `select pg_is_in_recovery()::int,
	case when pg_is_in_recovery() then pg_is_wal_replay_paused()::int else 0 end,
	(pg_last_wal_replay_lsn() - '0/0')::bigint, extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()),
	count(*), pg_postmaster_start_time(), (pg_last_wal_receive_lsn() - '0/0')::bigint
	from pg_stat_wal_receiver`

// unbounded is a lag without a known upper bound.
const unbounded = time.Duration(math.MaxInt64)

// walPosition is how far the primary had written at a moment: to lsn, or at least to lsn.
type walPosition struct {
	lsn   int64
	at    time.Time
	exact bool
}

// aheadPrecision bounds the memory for a replica that stays behind. A position is kept only if it
// is newer than the last one by a fraction of the lag.
const aheadPrecision = 32

// lagTracker bounds a replica's lag. A replica that has not replayed what the primary had written a
// second ago is at least a second behind. One that has replayed all of it is at most a second
// behind.
type lagTracker struct {
	server  string        // which replica
	ahead   []walPosition // not yet replayed at the last look, oldest first
	current time.Time     // the replica has everything from before this time; zero: not known
	cutOff  time.Time     // since then every look saw that it receives nothing; zero: it receives

	primary, received walPosition // the latest of each source
}

// look records the state of this replica, and forgets the state of any other one.
//
// A receiver that follows the primary has received everything that was replayed. A replica may be
// past the point where a new primary began. Its receiver never gets there.
func (t *lagTracker) look(s replicaState) {
	if t.server != s.server {
		*t = lagTracker{server: s.server}
	}
	switch {
	case s.receivers > 0 && s.received.lsn >= s.replayed:
		t.cutOff = time.Time{}
	case t.cutOff.IsZero():
		t.cutOff = time.Now()
	}
	for len(t.ahead) > 0 && s.replayed >= t.ahead[0].lsn {
		if t.ahead[0].exact {
			t.current = t.ahead[0].at
		}
		t.ahead = t.ahead[1:]
	}
}

// compare adds a new position. last is the previous one from the same source. Positions of one
// primary never decrease, so a lower one comes from another primary, which may have lost the
// earlier ones.
func (t *lagTracker) compare(replayed int64, p walPosition, last *walPosition) {
	if p.at.Equal(last.at) {
		return
	}
	if p.lsn < last.lsn {
		t.ahead = nil
	}
	*last = p
	switch n := len(t.ahead); {
	case replayed >= p.lsn:
		if p.exact && p.at.After(t.current) {
			t.current = p.at
		}
	case n == 0:
		t.ahead = append(t.ahead, p)
	case p.lsn > t.ahead[n-1].lsn && p.at.Sub(t.ahead[n-1].at) >= p.at.Sub(t.ahead[0].at)/aheadPrecision:
		t.ahead = append(t.ahead, p)
	}
}

// bounds returns how far the replica is behind, at least and at most. sinceCommit is an upper
// bound. It depends on the clocks of two machines, and grows while the primary is idle.
func (t *lagTracker) bounds(sinceCommit time.Duration) (least, most time.Duration) {
	known := !t.current.IsZero()
	switch {
	case len(t.ahead) > 0 && known: // the missing data came after an earlier look
		least = time.Since(t.ahead[0].at)
		return least, least
	case len(t.ahead) > 0:
		return time.Since(t.ahead[0].at), sinceCommit
	case known:
		return 0, min(time.Since(t.current), sinceCommit)
	}
	return 0, sinceCommit
}

// measurePosition asks the primary of a replica how far it has written.
func (d *database) measurePosition(ctx context.Context) observation {
	position := walPosition{exact: true}
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
	d.written.Store(&position)
	return observation{Status: pass}
}

// replicaState is the result of lagQuery.
type replicaState struct {
	standby, paused bool

	receivers   int64
	server      string
	replayed    int64
	received    walPosition   // zero: nothing received
	sinceCommit time.Duration // since the last replayed commit; unbounded: none
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
			standby: c.number(0) == 1, paused: c.number(1) == 1, replayed: c.number(2), sinceCommit: unbounded,
			receivers: c.number(4), server: string(row[5]),
		}
		if row[3] != nil {
			s.sinceCommit = c.seconds(3)
		}
		if row[6] != nil {
			s.received = walPosition{lsn: c.number(6), at: asked}
		}
		return c.err
	})
	return s, err
}

// columns reads a row of numbers. It reads NULL as 0 and keeps the first error.
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

// seconds returns 0 for a negative number, which comes from clocks that differ.
func (c *columns) seconds(i int) time.Duration {
	seconds, err := strconv.ParseFloat(string(c.row[i]), 64)
	if err == nil && !(seconds < math.MaxInt64/float64(time.Second)) {
		err = fmt.Errorf("%v is not a number of seconds", seconds)
	}
	c.err = cmp.Or(c.err, err)
	return time.Duration(max(seconds, 0) * float64(time.Second))
}

// measureReplicaLag fails for a proven lag, and for a replica that has received nothing for
// Options.MaxReplicaLag. It warns for a possible lag.
func (d *database) measureReplicaLag(ctx context.Context) observation {
	fresh := false
	if d.position != nil { // the replica may be up while its primary is not: leave time for it
		fresh = d.position.observe(time.Now(), d.opts.Timeout/2).Status == pass
	}
	s, err := d.readReplica(ctx)
	if err != nil {
		return d.failUnread(err, "the replica's lag could not be read")
	}
	seen := observation{Status: pass, Figures: map[string]int64{
		"inRecovery": count(s.standby), "paused": count(s.paused), "receivers": s.receivers,
	}}
	if !s.standby {
		return seen.withValue(0, "s", "not a replica")
	}

	t := &d.lag
	t.look(s)
	if written := d.written.Load(); written != nil {
		t.compare(s.replayed, *written, &t.primary)
	}
	if !fresh { // the replica has not received everything that the primary has written
		t.compare(s.replayed, s.received, &t.received)
	}
	least, most := t.bounds(s.sinceCommit)
	behind, known := len(t.ahead) > 0, most != unbounded
	switch {
	case known && most > least:
		seen = seen.withValue(most.Seconds(), "s", "at most "+humanize(most)+" behind")
	case known || behind:
		seen = seen.withValue(least.Seconds(), "s", "at least "+humanize(least)+" behind")
	}

	const maybe = "the replica may be far behind: "
	warnLag, maxLag := d.opts.WarnReplicaLag, d.opts.MaxReplicaLag
	cutOff := !t.cutOff.IsZero() && reaches(time.Since(t.cutOff), maxLag)
	switch {
	case !known && !behind:
		seen.Status, seen.Output = fail, "the replica cannot tell how far behind it is"
		if s.receivers > 0 {
			seen.Status = warn
		}
	case reaches(least, maxLag):
		seen.Status, seen.Output = fail, "the replica is too far behind"
	case reaches(most, maxLag) && cutOff:
		seen.Status, seen.Output = fail, "the replica may be too far behind: it receives nothing from a primary"
	case reaches(least, warnLag):
		seen.Status, seen.Output = warn, "the replica is far behind"
	case !reaches(most, warnLag) && !reaches(most, maxLag):
		if s.paused {
			seen.Status, seen.Output = warn, "replay is paused on the replica"
		}
	case fresh: // at the first looks
		seen.Status, seen.Output = warn, maybe+"its lag was not measured for long enough yet"
	default:
		seen.Status, seen.Output = warn, maybe+"the primary's position is not known"
	}
	return seen
}

func count(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
