package pghealth

import (
	"context"
	"time"

	"github.com/page-builder/persistence/pgerr"
)

// Listener tells whether notifications arrive. It is the seam to whoever runs LISTEN; this package
// knows nobody.
//
// Alive returns nil while LISTEN is established, otherwise what keeps it from being so, and since
// when it is like this; the zero time means since the start. It should answer at once; after
// Options.Timeout it counts as not alive. It is not called concurrently.
type Listener interface {
	Alive() (since time.Time, err error)
}

// ListenerFunc is a [Listener] made of a function.
type ListenerFunc func() (since time.Time, err error)

// Alive calls f.
func (f ListenerFunc) Alive() (time.Time, error) { return f() }

// measureListener warns, and fails only after Options.MaxListenerDown: the listener connects again
// by itself, and all instances lose theirs at the same time.
func (p *Probe) measureListener(context.Context) observation {
	if p.opts.Listener == nil {
		return observation{status: fail, output: "there is no listener: set Options.Listener"}
	}
	since, err := p.opts.Listener.Alive()
	if since.IsZero() {
		since = p.created
	}
	lasts := time.Since(since)
	if err == nil {
		return observation{status: pass}.of(lasts.Seconds(), "s", nil)
	}
	seen := observation{status: warn, category: pgerr.Of(err), output: "LISTEN is not established: notifications do not arrive", cause: err}
	if over(lasts, p.opts.MaxListenerDown) {
		seen.status = fail
	}
	return seen.of(lasts.Seconds(), "s", nil)
}
