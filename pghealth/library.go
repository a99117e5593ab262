package pghealth

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/alexliesenfeld/health"
	"github.com/page-builder/persistence/pgerr"
)

// checkSlack is how much longer a health.Checker waits than the check itself, so that the check's
// answer, which has a category, wins over the checker's own timeout.
const checkSlack = 50 * time.Millisecond

// Checks returns the checks of [Probe.Ready] for an application's own health.Checker, by
// health.WithChecks or, one by one, health.WithPeriodicCheck. Their names are "serving",
// "connectivity", "saturation", and with the options for them "replicaLag", "schema" and
// "listener", each after Options.Name and a colon.
//
// A warning is no error to the checker; [Probe.ResultWriter] shows it. Errors are of type
// [*FailedError].
//
// Every check has a Timeout, without which a periodic check that hangs would keep its last status
// forever; [StaleAfter] guards against other reasons to hang. health.WithTimeout must be longer
// than Options.Timeout and 50 ms. The library's default is 10 s.
//
// Do not use the checks for liveness: restarting a service does not repair its database.
func (p *Probe) Checks() []health.Check {
	list := make([]health.Check, len(p.checks))
	for i, c := range p.checks {
		list[i] = health.Check{
			Name:         c.name,
			Timeout:      c.db.opts.Timeout + checkSlack,
			Check:        c.verdict,
			Interceptors: []health.Interceptor{ignoreGoneCallers},
		}
	}
	return list
}

// verdict is the check as the library knows it.
func (c *check) verdict(ctx context.Context) error {
	seen := c.observe(ctx, c.db.opts.Timeout)
	if seen.status != fail {
		return nil
	}
	return &FailedError{check: c.name, output: seen.output, category: seen.category, cause: seen.cause}
}

// ignoreGoneCallers keeps a check's state when its request was given up. The library would take
// that for a failure and serve it from its cache to others for a second: a client that hangs up
// could take a service out.
func ignoreGoneCallers(next health.InterceptorFunc) health.InterceptorFunc {
	return func(ctx context.Context, name string, before health.CheckState) health.CheckState {
		after := next(ctx, name, before)
		if after.Result != nil && errors.Is(ctx.Err(), context.Canceled) {
			return before
		}
		return after
	}
}

// FailedError is the error of a check of [Probe.Checks]. Its text is fit for the public, because
// health.Checker's default ResultWriter serves it: no host, user or SQL.
type FailedError struct {
	check    string
	output   string
	category pgerr.Category
	cause    error
}

// Error returns the check's name and a sentence of this package: "postgres:connectivity: the
// session cannot write".
func (e *FailedError) Error() string { return e.check + ": " + e.output }

// Check returns the name of the check that failed.
func (e *FailedError) Check() string { return e.check }

// Category returns pgerr's category of the cause, or "" without a cause.
func (e *FailedError) Category() pgerr.Category { return e.category }

// Unwrap returns the cause, which may be nil. Its text is not fit for the public.
func (e *FailedError) Unwrap() error { return e.cause }

// ErrStale is the error of a check whose last result is older than [StaleAfter] allows.
var ErrStale = errors.New("the check has not ended for too long: its last result no longer counts")

// StaleAfter returns a guard for health.WithMiddleware against periodic checks that hang, of this
// package or any other: the library keeps their last status forever, even if it is up. A check
// whose last result is older than limit counts as down, with [ErrStale]. One that has never ended
// is unknown, which the library serves as down by itself.
//
// limit must be longer than the longest period of a check and its timeout together, and longer than
// health.WithCacheDuration. Zero or less guards nothing. With health.WithDisabledDetails the guard
// sees nothing.
func StaleAfter(limit time.Duration) health.Middleware {
	return func(next health.MiddlewareFunc) health.MiddlewareFunc {
		return func(r *http.Request) health.CheckerResult {
			result := next(r)
			if limit <= 0 {
				return result
			}
			for name, detail := range result.Details {
				if detail.Timestamp.IsZero() || time.Since(detail.Timestamp) <= limit {
					continue
				}
				detail.Status, detail.Error = health.StatusDown, ErrStale
				result.Details[name] = detail
				result.Status = health.StatusDown
			}
			return result
		}
	}
}
