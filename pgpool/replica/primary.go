package replica

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgpool/internal/dial"
)

const (
	// positionLimit is how long a look at a replica waits for the primary's position. Without an
	// answer the replica is compared with an older position.
	positionLimit = 250 * time.Millisecond
	// maxPositions bounds the memory for positions. One a second reaches back for 17 minutes; a
	// replica that is further behind is measured by its own clock.
	maxPositions = 1024
)

// position is where the primary's log ended at some time. A replica that has replayed up to
// flushed lacks at most what was committed later than at.
type position struct {
	at       time.Time // before the question was sent
	flushed  uint64    // no replica can have more
	inserted uint64    // no token can be beyond it
	timeline uint32
}

// primary knows where the primary's log ends. It asks on a connection of its own, so that a busy
// pool does not look like a replica that lags.
type primary struct {
	config   *pgx.ConnConfig
	password dial.Password
	asked    chan struct{} // wakes watch

	mu        sync.Mutex
	positions []position    // oldest first
	failed    time.Time     // when the last question that got no answer was asked
	answered  chan struct{} // closed and replaced when a question got an answer or failed
	conn      *pgx.Conn     // belongs to watch
	readOnly  bool          // conn was when it was made

	timeline atomic.Uint32 // the latest that was seen on any server of the cluster
}

func newPrimary(config *pgx.ConnConfig, password dial.Password) *primary {
	return &primary{config: config, password: password, asked: make(chan struct{}, 1), answered: make(chan struct{})}
}

// An old primary that still runs after a failover is often made read-only.
const positionSQL = `select current_setting('transaction_read_only') = 'on',
	(pg_current_wal_flush_lsn() - '0/0')::bigint,
	(pg_current_wal_insert_lsn() - '0/0')::bigint,
	('x' || substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8))::bit(32)::bigint`

// watch answers fresh until ctx ends.
func (p *primary) watch(ctx context.Context) {
	defer p.disconnect(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.asked:
		}
		began := time.Now()
		next, err := p.ask(ctx)
		if err != nil {
			p.disconnect(ctx)
		}
		p.mu.Lock()
		if err != nil {
			p.failed = began
		} else {
			p.positions = append(p.positions[max(len(p.positions)-maxPositions+1, 0):], next)
		}
		close(p.answered)
		p.answered = make(chan struct{})
		p.mu.Unlock()
	}
}

// ask asks on the connection that it has. After a failover the old primary may still answer there,
// so ask makes a new connection if the server became read-only or is on an older timeline than
// others.
func (p *primary) ask(ctx context.Context) (position, error) {
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	if p.conn != nil {
		next, readOnly, err := p.askOnce(ctx)
		if err != nil || readOnly == p.readOnly && next.timeline >= p.timeline.Load() {
			return next, err
		}
		p.disconnect(ctx)
	}
	conn, err := dial.Connect(ctx, p.config, p.password)
	if err != nil {
		return position{}, err
	}
	p.conn = conn
	next, readOnly, err := p.askOnce(ctx)
	p.readOnly = readOnly
	return next, err
}

func (p *primary) askOnce(ctx context.Context) (next position, readOnly bool, err error) {
	next.at = time.Now()
	var flushed, inserted, timeline int64
	// In one message and without a name: there may be PgBouncer in between.
	err = p.conn.QueryRow(ctx, positionSQL, pgx.QueryExecModeSimpleProtocol).Scan(
		&readOnly, &flushed, &inserted, &timeline)
	next.flushed, next.inserted, next.timeline = uint64(flushed), uint64(inserted), uint32(timeline)
	return next, readOnly, err
}

// noteTimeline records the timeline that another connection to the cluster saw.
func (p *primary) noteTimeline(timeline uint32) {
	for last := p.timeline.Load(); timeline > last; last = p.timeline.Load() {
		if p.timeline.CompareAndSwap(last, timeline) {
			return
		}
	}
}

func (p *primary) disconnect(ctx context.Context) {
	if p.conn != nil {
		dial.Close(ctx, p.conn)
		p.conn = nil
	}
}

// fresh returns a position of the primary from after the call, and false if the primary does not
// answer within positionLimit.
func (p *primary) fresh(ctx context.Context) (position, bool) {
	began := time.Now()
	limit := time.NewTimer(positionLimit)
	defer limit.Stop()
	for {
		p.mu.Lock()
		answered, failed, last := p.answered, p.failed, position{}
		if n := len(p.positions); n > 0 {
			last = p.positions[n-1]
		}
		p.mu.Unlock()
		switch {
		case last.at.After(began):
			return last, true
		case failed.After(began):
			return position{}, false
		}
		select {
		case p.asked <- struct{}{}:
		default: // it is going to be asked
		}
		select {
		case <-answered:
		case <-limit.C:
			return position{}, false
		case <-ctx.Done():
			return position{}, false
		}
	}
}

// covered returns when the primary was last seen at a position that replayed covers, and false if
// it never was on that timeline.
func (p *primary) covered(replayed position) (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.positions) - 1; i >= 0; i-- {
		if seen := p.positions[i]; seen.timeline == replayed.timeline && seen.flushed <= replayed.flushed {
			return seen.at, true
		}
	}
	return time.Time{}, false
}
