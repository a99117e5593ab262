package pghealth

import (
	"net/http"
	"sync"
	"time"
)

// Live answers 200 as long as the process can answer at all. It never touches the database:
// restarting a service does not repair its database, and restarting all instances at once makes it
// worse.
//
// Like the other handlers it answers GET and HEAD, and 405 to other methods. A client gets a page
// if its Accept header names text/html and no JSON.
func (p *Probe) Live() http.Handler {
	return endpoint(func() answer { return answer{Status: pass} })
}

// Ready answers 200 while the service should get traffic, and 503 otherwise. It answers 503:
//
//   - after [Probe.Drain],
//   - when the database does not answer within Options.Timeout,
//   - when the session cannot write, unless Options.AllowReadOnly is set,
//   - when the schema is behind or dirty, with Options.Schema,
//   - beyond Options.MaxReplicaLag and Options.MaxListenerDown, if set.
//
// A warning is 200. Ready answers within Options.Timeout, or from results at most Options.MaxAge
// old, even if the request's context ends.
func (p *Probe) Ready() http.Handler {
	return endpoint(func() answer {
		if p.draining() { // the pool may be closed by now
			return observe(p.serving)
		}
		return p.observeAll()
	})
}

// Startup answers 503 until all checks have passed at the same time, here or in [Probe.Ready], and
// from then on 200 without touching the database. A warning counts as passed.
func (p *Probe) Startup() http.Handler {
	return endpoint(func() answer {
		if p.started.Load() {
			return answer{Status: pass}
		}
		return p.observeAll()
	})
}

// Details answers as Ready does. For each database it adds details that are not for the public:
// host, port, user, database, server version, SQLSTATEs and the pool's figures. It contains no
// password and no error text; the log has the text.
//
// It has no access control. Serve it on an internal address, as net/http/pprof, or behind an
// authenticating handler. After [Probe.Drain] it still asks the database.
func (p *Probe) Details() http.Handler {
	return endpoint(func() answer {
		a := p.observeAll()
		p.describe(&a)
		return a
	})
}

func (p *Probe) observeAll() answer {
	a := observe(p.checks)
	if a.Status != fail {
		p.started.Store(true)
	}
	return a
}

// observe runs all checks at the same time, so that together they take no longer than one.
func observe(checks []*check) answer {
	a := answer{Status: pass, Checks: make(map[string][]observation, len(checks))}
	seen := make([]observation, len(checks))
	asked := time.Now() // one question for all
	var blocking sync.WaitGroup
	for i, c := range checks {
		if c.blocking {
			blocking.Go(func() { seen[i] = c.observe(asked, c.db.opts.Timeout) })
		} else {
			seen[i] = c.observe(asked, 0)
		}
	}
	blocking.Wait()
	for i, c := range checks {
		a.Status = worst(a.Status, seen[i].Status)
		a.Checks[c.name] = []observation{seen[i]}
	}
	return a
}

// endpoint serves the answer that ask returns: 503 for fail, otherwise 200.
func endpoint(ask func() answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			w.Header().Set("Cache-Control", "no-store")
			http.Error(w, "use GET or HEAD to ask a health probe", http.StatusMethodNotAllowed)
			return
		}
		a := ask()
		code := http.StatusOK
		if a.Status == fail {
			code = http.StatusServiceUnavailable
		}
		_ = a.respond(w, r, code) // an error means that the client is gone
	})
}
