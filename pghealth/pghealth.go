// Package pghealth tells orchestrators and load balancers whether a service can use its PostgreSQL
// database, and tells busy from broken.
//
// A [Probe] has its own connection, never one of the pool's: a pool whose connections are all in
// use is reported as a warning and keeps its traffic, where a probe that waits for a pooled
// connection would take every instance out at once.
//
//	probe, err := pghealth.New(pool, pghealth.Options{})
//	...
//	mux.Handle("/livez", probe.Live())
//	mux.Handle("/readyz", probe.Ready())
//	mux.Handle("/startupz", probe.Startup())
//
// An application that has a checker of github.com/alexliesenfeld/health adds [Probe.Checks] to it
// and gives its handler [Probe.ResultWriter], which adds to the library's up and down what it has
// no room for: warnings, latency and the category of a failure.
//
// Answers are application/health+json, or a page for a browser, and hold no error text, host, user
// or SQL. What went wrong in detail is logged, once for each change, to [Options.Logger]. A check
// of [Probe.Checks] fails with a [*FailedError].
package pghealth

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Probe checks one database. It is safe for concurrent use. However many ask at once, it has at
// most one connection and runs at most one query at a time. It has no goroutine while nobody asks.
type Probe struct {
	pool    *pgxpool.Pool
	opts    Options
	life    *lifetime
	session *session

	checks   checks
	database []*check // those of Ready, everything but serving

	created  time.Time
	acquires acquireWindow // for saturation
	answers  atomic.Pointer[recentAnswer]

	drained atomic.Pointer[time.Time] // when Drain was called
	started atomic.Bool               // every check of the database has passed at the same time once
}

// New returns a probe for the database that pool connects to. It does not connect: the first check
// does. The caller ends it with [Probe.Close], before or after the pool is closed.
//
// It takes from the pool its configuration (ConnConfig, BeforeConnect, AfterConnect,
// MaxConnLifetime), copied, and its Stat. Tracers are left out: they would report each probe as a
// query of the application.
//
// The error says what is wrong with pool or opts.
func New(pool *pgxpool.Pool, opts Options) (*Probe, error) {
	if pool == nil {
		return nil, errors.New("new health probe: the pool is nil: pass the one that pgxpool or pgpool.Connect returned")
	}
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("new health probe: %w", err)
	}
	p := &Probe{
		pool: pool, opts: opts, life: newLifetime(), created: time.Now(),
		session: newSession(pool.Config(), opts.Timeout, opts.MaxAge),
	}
	p.acquires.from = readAcquires(pool.Stat())
	p.acquires.to = p.acquires.from
	p.checks = p.newChecks()
	p.database = p.checks.wanted(opts)
	return p, nil
}

// Drain makes [Probe.Ready] answer 503 from now on, without asking the database, and the check
// "serving" of [Probe.Checks] fail. Call it when shutdown begins, before the server stops accepting
// requests, and leave the load balancer the time to notice. It returns at once and cannot be
// undone.
func (p *Probe) Drain() {
	now := time.Now()
	p.drained.CompareAndSwap(nil, &now)
}

// Close drains the probe, stops checks under way and closes its connection. Ready and every check
// that can fail do so from then on; [Probe.Live] goes on answering 200. Close returns after at most
// two seconds, even when the database does not answer or a [Schema] or a hook of the pool ignores
// its context. It may be called more than once.
func (p *Probe) Close() {
	p.Drain()
	p.life.end(closeLimit)
	p.session.end(closeLimit)
}

// closeLimit is for saying goodbye to the server, and for a check to notice that its context is
// done. Both take microseconds unless something hangs, and a pod that is told to stop has better
// things to wait for.
const closeLimit = time.Second
