package pghealth

import (
	"context"
	"errors"
	"time"

	"github.com/alexliesenfeld/health"
)

// checkSlack is how much longer a health.Checker waits than the check itself, so that its answer, with a category, wins
// over the checker's own timeout.
const checkSlack = 50 * time.Millisecond

// Checks returns the probe's checks for an application's own health.Checker, by health.WithChecks, or one by one by
// health.WithCheck and health.WithPeriodicCheck. Each is named Options.Name, a colon and:
//
//   - serving: fails after [Probe.Drain].
//   - connectivity: fails when the database cannot be reached and asked within Options.Timeout, or does not let the
//     session write. Warns when the server has no connection slot left for the probe but the pool is connected.
//   - saturation: warns while all connections of the pool are in use. Never fails.
//   - schema: with Options.Schema only. Fails when the schema is behind or dirty or cannot be read.
//
// A warning is no error to the checker; [Probe.ResultWriter] shows it. Errors are of type [*FailedError]. Every check
// has a Timeout, without which a periodic check that hangs would keep its last status for ever. health.WithTimeout must
// be longer than it (Options.Timeout and 50 ms); the library's default is 10 s.
//
// Do not use the checks for liveness: restarting a service does not repair its database.
func (p *Probe) Checks() []health.Check {
	all := p.all()
	checks := make([]health.Check, 0, len(all))
	for _, c := range all {
		checks = append(checks, health.Check{
			Name:         c.name,
			Timeout:      p.opts.Timeout + checkSlack,
			Check:        c.verdict,
			Interceptors: []health.Interceptor{ignoreGoneCallers},
		})
	}
	return checks
}

// verdict is the check as the library knows it.
func (c *check) verdict(ctx context.Context) error {
	seen := c.observe(ctx)
	if seen.status != fail {
		return nil
	}
	return &FailedError{check: c.name, output: seen.output, category: seen.category, cause: seen.cause}
}

// ignoreGoneCallers keeps a check's state when the request it ran for was given up. The library would take that for a
// failure and serve it from its cache to others for a second: a client that hangs up could take a service out.
func ignoreGoneCallers(next health.InterceptorFunc) health.InterceptorFunc {
	return func(ctx context.Context, name string, before health.CheckState) health.CheckState {
		after := next(ctx, name, before)
		if after.Result != nil && errors.Is(ctx.Err(), context.Canceled) {
			return before
		}
		return after
	}
}
