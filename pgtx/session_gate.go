package pgtx

import (
	"errors"
	"sync"
	"time"
)

type gateState int

const (
	gateIdle    gateState = iota
	gateCalling           // inside a call that talks to the server
	gateReading           // between calls, with rows or batch results open
	gateClosed
)

// gate lets one goroutine at a time use a session's connection. pgx has no such lock: two
// goroutines on one connection meet "conn busy" at best and a data race at worst.
type gate struct {
	mu    sync.Mutex
	state gateState
	left  chan struct{} // made by shut, closed by the call it waits for
}

// enter takes the gate, or says why not.
func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.take()
}

func (g *gate) take() error {
	switch {
	case g.state == gateClosed || g.left != nil:
		return ErrTxClosed
	case g.state != gateIdle:
		return ErrTxInUse
	}
	g.state = gateCalling
	return nil
}

// enterOr is enter that calls interrupt if the gate is in use. It holds the lock meanwhile, so that
// the connection cannot have been handed back.
func (g *gate) enterOr(interrupt func()) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	err := g.take()
	if errors.Is(err, ErrTxInUse) {
		interrupt()
	}
	return err
}

// resume goes on with rows or results that hold the gate, until hold or leave: they too read from
// the connection, which must not be handed back meanwhile, and must not be read from afterwards.
func (g *gate) resume() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.state == gateClosed, g.left != nil, g.state == gateIdle:
		return ErrTxClosed
	case g.state == gateCalling:
		return ErrTxInUse
	}
	g.state = gateCalling
	return nil
}

func (g *gate) isShut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state == gateClosed || g.left != nil
}

// hold leaves the call but keeps the gate: rows are open.
func (g *gate) hold() { g.set(gateReading) }

// leave gives the gate back. It is harmless when the gate is already free or closed.
func (g *gate) leave() { g.set(gateIdle) }

func (g *gate) set(state gateState) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.left != nil {
		if g.state == gateCalling {
			close(g.left)
		}
		state = gateClosed
	}
	if g.state != gateClosed {
		g.state = state
	}
}

// shut closes the gate for good and reports whether it was free. If another goroutine is inside a
// call, interrupt is called to get it out, and shut waits for it, at most limit: the connection
// must not be handed back under its feet.
func (g *gate) shut(interrupt func(), limit time.Duration) (free bool) {
	g.mu.Lock()
	free = g.state == gateIdle
	if g.state != gateCalling {
		g.state = gateClosed
		g.mu.Unlock()
		return free
	}
	g.left = make(chan struct{})
	left := g.left
	g.mu.Unlock()

	interrupt()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-left:
	case <-timer.C:
	}
	return false
}
