// Package pghealth tells orchestrators and load balancers whether a service can use its PostgreSQL
// database. It tells busy from broken.
//
// A [Probe] has its own connection and never borrows one from the pool. A full pool is a warning,
// and the service keeps its traffic. A probe that waited for a pooled connection would take every
// instance out at once.
//
//	probe, err := pghealth.New(pool, pghealth.Options{})
//	...
//	mux.Handle("/livez", probe.Live())
//	mux.Handle("/readyz", probe.Ready())
//	mux.Handle("/startupz", probe.Startup())
//	internal.Handle("/debug/health", probe.Details())
//
// [Join] combines several probes into one. An application with its own checker of
// github.com/alexliesenfeld/health adds [Probe.Checks] to it and passes [Probe.ResultWriter] to its
// handler. The writer adds warnings, latency and the category of a failure, which the library has
// no room for.
//
// Answers are application/health+json, or a page for a browser. Except for [Probe.Details], they
// contain no error text, host, user or SQL. The cause of a change is logged once to
// [Options.Logger].
package pghealth

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Probe checks one database, or several after [Join]. It is safe for concurrent use.
//
// For each database it has at most one connection and runs at most one query at a time, however
// many callers ask. It runs no goroutine between requests.
type Probe struct {
	databases []*database
	checks    []*check // of all databases
	serving   []*check // one for each database; these do not ask it

	started atomic.Bool // all checks have passed at the same time once
}

// New returns a probe for the database that pool connects to. It does not connect; the first check
// does. The caller ends it with [Probe.Close], before or after closing the pool.
//
// The probe copies the pool's configuration: ConnConfig, BeforeConnect, AfterConnect, BeforeClose
// and MaxConnLifetime. It leaves out tracers, which would report each probe as a query of the
// application.
//
// The probe reads the pool's Stat, which does not show that the pool is closed. Call [Probe.Drain]
// before closing it.
//
// The error says what is wrong with pool or opts.
func New(pool *pgxpool.Pool, opts Options) (*Probe, error) {
	if pool == nil {
		return nil, errors.New("new health probe: the pool is nil: pass what pgpool.Connect or pgxpool.New returned")
	}
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("new health probe: %w", err)
	}
	return newProbe(newDatabase(pool, opts)), nil
}

// Join returns a probe of all databases of the given probes, for one set of handlers, one
// [Probe.Details] and one [Probe.ResultWriter]. The worst database decides the status.
//
// The given probes stay usable and share connections and results with the new one. Draining or
// closing either affects both.
//
// Join fails without probes, and when two databases have the same Options.Name.
func Join(probes ...*Probe) (*Probe, error) {
	if len(probes) == 0 {
		return nil, errors.New("join health probes: no probes: pass the probes that New returned")
	}
	var databases []*database
	named := make(map[string]bool)
	for i, p := range probes {
		if p == nil || len(p.databases) == 0 {
			return nil, fmt.Errorf("join health probes: probe %d is nil or empty: pass the probes that New returned", i)
		}
		for _, d := range p.databases {
			name := d.opts.Name
			if named[name] {
				return nil, fmt.Errorf("join health probes: two are named %q: give each its own Options.Name", name)
			}
			named[name] = true
			databases = append(databases, d)
		}
	}
	return newProbe(databases...), nil
}

func newProbe(databases ...*database) *Probe {
	p := &Probe{databases: databases}
	for _, d := range databases {
		p.checks = append(p.checks, d.checks...)
		p.serving = append(p.serving, d.checks[0])
	}
	return p
}

// Drain makes [Probe.Ready] answer 503 from now on, without asking the database, and makes the
// check "serving" of [Probe.Checks] fail. Call it when shutdown begins, before the server stops
// accepting requests, and give the load balancer time to notice.
//
// Drain returns at once and cannot be undone. From then on changes are logged at level Info: a
// shutdown is not a failure.
func (p *Probe) Drain() {
	for _, d := range p.databases {
		d.drained.Store(true)
	}
}

func (p *Probe) draining() bool {
	for _, d := range p.databases {
		if d.drained.Load() {
			return true
		}
	}
	return false
}

// Close drains the probe, stops running checks and closes its connections. From then on Ready and
// every check that can fail report failure; [Probe.Live] still answers 200.
//
// Close returns after at most two seconds, even if the database does not answer, or a [Schema] or a
// hook of the pool ignores its context. It may be called more than once.
func (p *Probe) Close() {
	p.Drain()
	var closing sync.WaitGroup
	for _, d := range p.databases {
		closing.Go(d.close)
	}
	closing.Wait()
}

// closeLimit limits the Terminate message to the server, and the wait for a check to notice that
// its context is done. Both take microseconds unless something hangs.
const closeLimit = time.Second
