package pghealth

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// Live answers 200 as long as the process can answer at all. It never touches the database:
// restarting a service does not repair it, and restarting all of them at once makes it worse.
//
// Like the other handlers it answers GET and HEAD, and 405 to everything else; as a page to a
// client that accepts HTML rather than JSON; and with more, if Options.Token is set, to ?verbose
// with the header "Authorization: Bearer" and the token.
func (p *Probe) Live() http.Handler {
	return p.endpoint(func(context.Context) answer { return answer{Status: pass} })
}

// Ready answers 200 while the service should get traffic and 503 while it should not: after
// [Probe.Drain], when the database cannot be reached and asked within Options.Timeout, when the
// session cannot write (see Options.AllowReadOnly), and when the schema is behind or dirty (see
// Options.Schema). With Options.MaxReplicaLag and Options.MaxListenerDown their limits count too. A
// warning is 200.
//
// It answers within Options.Timeout, or from a result at most Options.MaxAge old. The answer as a
// whole is given again for a tenth of that, at most 100 ms, but not after Drain.
func (p *Probe) Ready() http.Handler {
	return p.endpoint(func(ctx context.Context) answer {
		serving := observe(ctx, []*check{p.checks.serving})
		if serving.Status == fail {
			return serving // and leave a database alone whose pool may be closed by now
		}
		if recent := p.answers.Load(); recent != nil && time.Since(recent.at) < p.answerAge() {
			return recent.answer
		}
		a := p.observeDatabase(ctx)
		a.Checks[p.checks.serving.name] = serving.Checks[p.checks.serving.name]
		if ctx.Err() == nil && p.answerAge() > 0 {
			if body, err := a.json(); err == nil {
				a.encoded = body
				p.answers.Store(&recentAnswer{a, time.Now()})
			}
		}
		return a
	})
}

// recentAnswer is one of Ready that is given again.
type recentAnswer struct {
	answer
	at time.Time
}

// answerAge is for how long. Encoding costs as much as everything else in an answer without a
// query, which adds up in a flood.
func (p *Probe) answerAge() time.Duration { return min(p.opts.MaxAge/10, 100*time.Millisecond) }

// Startup answers 503 until all checks of the database have passed at the same time, here or in
// [Probe.Ready], and from then on 200 without touching the database: whether it is there later is
// what Ready tells. A warning counts as passed.
func (p *Probe) Startup() http.Handler {
	return p.endpoint(func(ctx context.Context) answer {
		if p.started.Load() {
			return answer{Status: pass}
		}
		return p.observeDatabase(ctx)
	})
}

func (p *Probe) observeDatabase(ctx context.Context) answer {
	a := observe(ctx, p.database)
	if a.Status != fail {
		p.started.Store(true)
	}
	return a
}

// observe waits for all checks at the same time, so that together they take no longer than one.
func observe(ctx context.Context, checks []*check) answer {
	seen := make([]observation, len(checks))
	var wait sync.WaitGroup
	for i, c := range checks {
		if c.async {
			wait.Go(func() { seen[i] = c.observe(ctx) })
		} else {
			seen[i] = c.observe(ctx)
		}
	}
	wait.Wait()

	a := answer{Status: pass, Checks: make(map[string][]entry, len(checks)+1)}
	for i, c := range checks {
		a.Status = worst(a.Status, seen[i].status)
		a.Checks[c.name] = []entry{c.entry(seen[i])}
	}
	return a
}

// endpoint serves what answer returns: 503 for fail, otherwise 200.
func (p *Probe) endpoint(ask func(context.Context) answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			w.Header().Set("Cache-Control", "no-store")
			http.Error(w, "a health probe is asked by GET or HEAD", http.StatusMethodNotAllowed)
			return
		}
		a := ask(r.Context())
		code := http.StatusOK
		if a.Status == fail {
			code = http.StatusServiceUnavailable
		}
		_ = p.respond(w, r, code, a) // the client is gone: nobody to tell
	})
}
