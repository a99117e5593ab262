package pghealth

import (
	"context"
	"errors"
	"time"

	"github.com/alexliesenfeld/health"
)

// checkSlack is how much longer a health.Checker waits than the check itself, so that its answer,
// with a category, wins over the checker's own timeout.
const checkSlack = 50 * time.Millisecond

// checks are all that a probe can make. Those that nobody asks for cost nothing.
type checks struct {
	serving, connectivity, saturation, connections, transactions, replicaLag, schema, listener *check
}

func (p *Probe) newChecks() checks {
	c := checks{
		serving:      p.instant("serving", componentSystem, p.measureServing),
		connectivity: p.background("connectivity", p.measureConnectivity),
		saturation:   p.instant("saturation", componentDatastore, p.measureSaturation),
		connections:  p.background("connections", p.measureConnections),
		transactions: p.background("transactions", p.measureTransactions),
		replicaLag:   p.background("replicaLag", p.measureReplicaLag),
		schema:       p.background("schema", p.measureSchema),
		listener:     p.background("listener", p.measureListener),
	}
	c.saturation.advisory, c.connections.advisory, c.transactions.advisory = true, true, true
	c.replicaLag.advisory = p.opts.MaxReplicaLag <= 0
	c.listener.advisory = p.opts.MaxListenerDown <= 0
	c.listener.component, c.listener.maxAge = componentSystem, 0
	c.listener.late = "the listener does not tell its status in time"
	return c
}

// every is all checks in the order in which they are listed to a health.Checker.
func (c checks) every() []*check {
	return []*check{c.serving, c.connectivity, c.saturation, c.connections, c.transactions, c.replicaLag, c.schema, c.listener}
}

// wanted is those that opts ask for, without serving.
func (c checks) wanted(opts Options) []*check {
	list := []*check{c.connectivity, c.saturation}
	for _, optional := range []struct {
		check *check
		on    bool
	}{
		{c.connections, opts.WarnConnections > 0},
		{c.transactions, opts.WarnTransactionAge > 0 || opts.WarnIdleInTransaction > 0},
		{c.replicaLag, opts.AllowReadOnly || opts.MaxReplicaLag > 0},
		{c.schema, opts.Schema != nil},
		{c.listener, opts.Listener != nil},
	} {
		if optional.on {
			list = append(list, optional.check)
		}
	}
	return list
}

// Checks returns the checks of [Probe.Ready] for an application's own health.Checker, by
// health.WithChecks. Each is also to be had by a method of its own, for health.WithCheck and
// health.WithPeriodicCheck.
//
// A warning is no error to the checker; [Probe.ResultWriter] shows it. Errors are of type
// [*FailedError]. Every check has a Timeout, without which a periodic check that hangs would keep
// its last status for ever; against other reasons to hang, and for checks of others, there is
// [StaleAfter]. health.WithTimeout must be longer than it (Options.Timeout and 50 ms); the
// library's default is 10 s.
//
// Do not use the checks for liveness: restarting a service does not repair its database.
func (p *Probe) Checks() []health.Check {
	list := []health.Check{p.Serving()}
	for _, c := range p.database {
		list = append(list, c.export())
	}
	return list
}

// Serving fails after [Probe.Drain].
func (p *Probe) Serving() health.Check { return p.checks.serving.export() }

// Connectivity fails when the database cannot be reached and asked within Options.Timeout, or does
// not let the session write. It warns when the server has no connection slot left for the probe but
// the pool is connected.
func (p *Probe) Connectivity() health.Check { return p.checks.connectivity.export() }

// Saturation warns while all connections of the pool are in use, after callers gave up waiting for
// one, while on average at least one caller waits, and, with Options.Pressure, while half of the
// pool or more is held for too long. It never fails.
func (p *Probe) Saturation() health.Check { return p.checks.saturation.export() }

// Connections warns when the server has few connection slots left, see Options.WarnConnections. It
// never fails.
func (p *Probe) Connections() health.Check { return p.checks.connections.export() }

// Transactions warns of transactions of the same database that are open or idle for long, whoever's
// they are; see Options.WarnTransactionAge and Options.WarnIdleInTransaction. It never fails.
func (p *Probe) Transactions() health.Check { return p.checks.transactions.export() }

// ReplicaLag is for a probe of a replica: it warns from Options.WarnReplicaLag on and while replay
// is paused, and fails from Options.MaxReplicaLag on, if that is set. It passes on a primary.
func (p *Probe) ReplicaLag() health.Check { return p.checks.replicaLag.export() }

// Schema fails when the schema is behind or dirty or cannot be read, and without Options.Schema.
func (p *Probe) Schema() health.Check { return p.checks.schema.export() }

// Listener warns while Options.Listener is not alive, and fails from Options.MaxListenerDown on, if
// that is set.
func (p *Probe) Listener() health.Check { return p.checks.listener.export() }

// export returns the check for the library.
func (c *check) export() health.Check {
	return health.Check{
		Name:         c.name,
		Timeout:      c.timeout + checkSlack,
		Check:        c.verdict,
		Interceptors: []health.Interceptor{ignoreGoneCallers},
	}
}

// verdict is the check as the library knows it.
func (c *check) verdict(ctx context.Context) error {
	seen := c.observe(ctx)
	if seen.status != fail {
		return nil
	}
	return &FailedError{check: c.name, output: seen.output, category: seen.category, cause: seen.cause}
}

// ignoreGoneCallers keeps a check's state when the request it ran for was given up. The library
// would take that for a failure and serve it from its cache to others for a second: a client that
// hangs up could take a service out.
func ignoreGoneCallers(next health.InterceptorFunc) health.InterceptorFunc {
	return func(ctx context.Context, name string, before health.CheckState) health.CheckState {
		after := next(ctx, name, before)
		if after.Result != nil && errors.Is(ctx.Err(), context.Canceled) {
			return before
		}
		return after
	}
}
