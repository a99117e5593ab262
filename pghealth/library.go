package pghealth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/alexliesenfeld/health"
	"github.com/page-builder/persistence/pgerr"
)

// Checks returns the checks of [Probe.Ready] for an application's own health.Checker. Pass them to
// health.WithChecks or, one by one, to health.WithPeriodicCheck. Their names are "serving",
// "connectivity", "saturation", and with the options for them "replicaLag", "schema" and
// "listener", each after Options.Name and a colon.
//
// A warning is not an error to the checker; [Probe.ResultWriter] shows it. Errors are of type
// [*FailedError].
//
// Each check ends within Options.Timeout. It ignores the context and the limits of the checker.
// Otherwise a client that hangs up or has a short deadline would count as a failure, and the
// checker would serve that failure to others from its cache. Do not replace a check's Interceptors;
// append to them.
//
// Do not use the checks for liveness: restarting a service does not repair its database.
func (p *Probe) Checks() []health.Check {
	list := make([]health.Check, len(p.checks))
	for i, c := range p.checks {
		list[i] = health.Check{Name: c.name, Check: c.verdict, Interceptors: []health.Interceptor{ignoreCaller}}
	}
	return list
}

// verdict returns the result in the library's form.
func (c *check) verdict(context.Context) error {
	seen := c.observe(time.Now(), c.db.opts.Timeout)
	if seen.Status != fail {
		return nil
	}
	return &FailedError{check: c.name, output: seen.Output, category: seen.Category, cause: seen.cause}
}

// ignoreCaller keeps the library from ending a check together with the request that it serves.
func ignoreCaller(next health.InterceptorFunc) health.InterceptorFunc {
	return func(ctx context.Context, name string, before health.CheckState) health.CheckState {
		return next(context.WithoutCancel(ctx), name, before)
	}
}

// FailedError is the error of a check of [Probe.Checks]. Its text is safe for the public, because
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

// Unwrap returns the cause, which may be nil. Its text is not safe for the public.
func (e *FailedError) Unwrap() error { return e.cause }

// ResultWriter returns a writer for health.WithResultWriter. It writes the checker's result in the
// form of the probe's handlers, with warnings, latency, category, figures and times. If a checker
// has checks of several probes, use the writer of a probe made by [Join]. With
// health.WithDisabledDetails there is nothing to add.
//
// Of other checks it writes status and time. The text of their errors, which the library's own
// writer serves to everybody, goes to Options.Logger instead, once for each change of status.
//
// The HTTP status stays the checker's. A warning counts as up.
func (p *Probe) ResultWriter() health.ResultWriter {
	w := &resultWriter{probe: p, own: make(map[string]*check), others: make(map[string]health.AvailabilityStatus)}
	for _, c := range p.checks {
		w.own[c.name] = c
	}
	return w
}

type resultWriter struct {
	probe *Probe
	own   map[string]*check

	mu     sync.Mutex
	others map[string]health.AvailabilityStatus // as last logged
}

// Write implements health.ResultWriter.
func (w *resultWriter) Write(result *health.CheckerResult, code int, to http.ResponseWriter, r *http.Request) error {
	a := answer{Status: statusOf(result.Status), Info: result.Info}
	if len(result.Details) > 0 {
		a.Checks = make(map[string][]observation, len(result.Details))
	}
	warned := false
	for name, detail := range result.Details {
		e := w.observation(name, detail)
		warned = warned || e.Status == warn
		a.Checks[name] = []observation{e}
	}
	if a.Status == pass && warned {
		a.Status = warn
	}
	return a.respond(to, r, code)
}

// statusOf takes unknown (not checked yet) for fail, as the library does when it chooses the HTTP
// status.
func statusOf(s health.AvailabilityStatus) status {
	if s == health.StatusUp {
		return pass
	}
	return fail
}

func (w *resultWriter) observation(name string, detail health.CheckResult) observation {
	c := w.own[name]
	if c == nil {
		w.logOther(name, detail)
		return toObservation(detail)
	}
	seen, ok := c.latest()
	if !ok || (seen.Status == fail) != (detail.Error != nil) {
		// The check has been asked again since: the answer must not contradict itself.
		seen = toObservation(detail)
		seen.Component = c.component
		return seen
	}
	seen.Status = tolerate(detail, seen.Status)
	return seen
}

// toObservation converts the library's result.
func toObservation(detail health.CheckResult) observation {
	e := observation{Status: tolerate(detail, statusOf(detail.Status))}
	if !detail.Timestamp.IsZero() {
		e.Time = timestamp(detail.Timestamp)
	}
	var failed *FailedError
	switch {
	case detail.Status == health.StatusUnknown:
		e.Output = "not checked yet"
	case errors.As(detail.Error, &failed): // also of another probe
		e.Category, e.Output = failed.category, failed.output
	case errors.Is(detail.Error, health.CheckTimeoutErr):
		e.Category = pgerr.Timeout
	}
	return e
}

// tolerate turns an error that the checker counts as up (MaxTimeInError, MaxContiguousFails) into a
// warning.
func tolerate(detail health.CheckResult, s status) status {
	if detail.Status == health.StatusUp && detail.Error != nil {
		return warn
	}
	return s
}

func (w *resultWriter) logOther(name string, detail health.CheckResult) {
	if detail.Status == health.StatusUnknown {
		return
	}
	w.mu.Lock()
	before := w.others[name]
	w.others[name] = detail.Status
	w.mu.Unlock()
	if before == detail.Status || (before == "" && detail.Status == health.StatusUp) {
		return
	}
	level := slog.LevelInfo
	attrs := []slog.Attr{slog.String("check", name), slog.String("status", string(statusOf(detail.Status)))}
	if detail.Error != nil {
		level = slog.LevelError
		attrs = append(attrs, slog.String("cause", detail.Error.Error()))
	}
	if w.probe.draining() {
		level = slog.LevelInfo
	}
	w.probe.databases[0].opts.Logger.LogAttrs(context.Background(), level, "health changed", attrs...)
}
