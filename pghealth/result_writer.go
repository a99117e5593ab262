package pghealth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"

	"github.com/alexliesenfeld/health"
	"github.com/page-builder/persistence/pgerr"
)

// ResultWriter returns a writer for health.WithResultWriter. It writes the checker's result as the
// probe's own handlers do, with what the probe knows about its checks: warnings, latency, category,
// figures, since when. With checks of several probes in one checker, use the writer of a probe made
// by [Join]. With health.WithDisabledDetails there is nothing to add.
//
// Of other checks it writes status and time. The text of their errors, which the library's own
// writer serves to everybody, goes to Options.Logger instead, once for each change of status.
//
// The HTTP status stays the checker's. A warning counts as up.
func (p *Probe) ResultWriter() health.ResultWriter {
	w := &resultWriter{own: make(map[string]*check), logger: p.databases[0].opts.Logger, others: make(map[string]health.AvailabilityStatus)}
	for _, c := range p.checks {
		w.own[c.name] = c
	}
	return w
}

type resultWriter struct {
	own    map[string]*check
	logger *slog.Logger

	mu     sync.Mutex
	others map[string]health.AvailabilityStatus // as last logged
}

// Write implements health.ResultWriter.
func (w *resultWriter) Write(result *health.CheckerResult, code int, to http.ResponseWriter, r *http.Request) error {
	a := answer{Status: statusOf(result.Status), Info: result.Info}
	if len(result.Details) > 0 {
		a.Checks = make(map[string][]entry, len(result.Details))
	}
	warned := false
	for name, detail := range result.Details {
		e := w.entry(name, detail)
		warned = warned || e.Status == warn
		a.Checks[name] = []entry{e}
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

func (w *resultWriter) entry(name string, detail health.CheckResult) entry {
	c := w.own[name]
	if c == nil {
		w.logOther(name, detail)
		return plainEntry(detail)
	}
	seen, ok := c.latest()
	if !ok || (seen.status == fail) != (detail.Error != nil) || errors.Is(detail.Error, ErrStale) {
		// The check has been asked again since: the answer must not contradict itself.
		e := plainEntry(detail)
		e.ComponentType = c.component
		return e
	}
	e := c.entry(seen)
	e.Status = tolerate(detail, e.Status)
	return e
}

// plainEntry is what the library knows.
func plainEntry(detail health.CheckResult) entry {
	e := entry{Status: tolerate(detail, statusOf(detail.Status)), Time: timestamp(detail.Timestamp)}
	var failed *FailedError
	switch {
	case detail.Status == health.StatusUnknown:
		e.Output = "not checked yet"
	case errors.As(detail.Error, &failed): // also of another probe
		e.Category, e.Output = failed.category, failed.output
	case errors.Is(detail.Error, ErrStale):
		e.Category, e.Output = pgerr.Timeout, ErrStale.Error()
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
	w.logger.LogAttrs(context.Background(), level, "health changed", attrs...)
}
