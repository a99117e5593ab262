package pghealth

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	componentDatastore = "datastore"
	componentSystem    = "system"
)

// database holds the state of a probe for one database.
type database struct {
	pool    *pgxpool.Pool
	opts    Options
	life    *lifetime
	session *session
	primary *session // nil without Options.Primary

	position *check   // of the primary; nil without Options.Primary
	checks   []*check // the first is serving

	written atomic.Pointer[walPosition] // last reported by the primary; nil: none

	created  time.Time
	drained  atomic.Bool
	acquires acquireWindow
	lag      lagTracker
}

func newDatabase(pool *pgxpool.Pool, opts Options) *database {
	d := &database{
		pool: pool, opts: opts, created: time.Now(), life: newLifetime(),
		session: newSession(pool.Config(), opts.Timeout),
	}
	d.acquires.from = readAcquires(pool.Stat())
	d.acquires.to = d.acquires.from

	serving, saturation := d.newCheck("serving", d.measureServing), d.newCheck("saturation", d.measureSaturation)
	serving.blocking, serving.component = false, componentSystem
	saturation.blocking, saturation.advisory = false, true
	connectivity := d.newCheck("connectivity", d.measureConnectivity)
	d.checks = []*check{serving, connectivity, saturation}
	if opts.checksLag() {
		c := d.newCheck("replicaLag", d.measureReplicaLag)
		c.advisory = opts.MaxReplicaLag <= 0
		c.follows = connectivity
		d.checks = append(d.checks, c)
	}
	if opts.Primary != nil {
		d.primary = newSession(opts.Primary.Config(), opts.Timeout)
		d.position = d.newCheck("primary", d.measurePosition)
		d.position.advisory = true
	}
	if opts.Schema != nil {
		c := d.newCheck("schema", d.measureSchema)
		c.follows = connectivity
		d.checks = append(d.checks, c)
	}
	if opts.Listener != nil {
		c := d.newCheck("listener", d.measureListener)
		c.advisory = opts.MaxListenerDown <= 0
		c.component, c.late = componentSystem, "the listener does not report its status in time"
		d.checks = append(d.checks, c)
	}
	return d
}

// newCheck returns a check with a measure that may block.
func (d *database) newCheck(name string, measure func(context.Context) observation) *check {
	return &check{
		name: d.opts.Name + ":" + name, component: componentDatastore, db: d,
		measure: measure, blocking: true, late: outputNoAnswer,
	}
}

// measureServing fails after Drain.
func (d *database) measureServing(context.Context) observation {
	if d.drained.Load() {
		return observation{Status: fail, Output: "the service is shutting down"}
	}
	return observation{Status: pass}
}

func (d *database) close() {
	d.life.end(closeLimit)
	var closing sync.WaitGroup
	closing.Go(func() { d.session.end(closeLimit) })
	if d.primary != nil {
		closing.Go(func() { d.primary.end(closeLimit) })
	}
	closing.Wait()
}

// lifetime owns the goroutines of a probe.
type lifetime struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex // held to end, and to start a goroutine
	running sync.WaitGroup
}

func newLifetime() *lifetime {
	ctx, cancel := context.WithCancel(context.Background())
	return &lifetime{ctx: ctx, cancel: cancel}
}

// start runs fn in a goroutine. It returns false when the lifetime is over.
func (l *lifetime) start(fn func(ctx context.Context)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return false
	}
	l.running.Go(func() { fn(l.ctx) })
	return true
}

// end cancels the goroutines and waits for them. It waits at most for limit, because they run
// functions of the application.
func (l *lifetime) end(limit time.Duration) {
	l.mu.Lock()
	l.cancel()
	l.mu.Unlock()
	done := make(chan struct{})
	go func() {
		l.running.Wait()
		close(done)
	}()
	waitFor(done, limit)
}

func waitFor(done <-chan struct{}, limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
