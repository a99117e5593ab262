package pgtest

import (
	"context"
	"os"
	"sync"
)

// process is what outlives a single test, and the only state that this package keeps in a variable:
// clones are made ahead of the tests that will want them, and no test is there to own them. Each
// host holds its server until the process ends; a killed process gives it up too, since the kernel
// does that. No goroutine stays: what runs in the [background] ends.
var process = hosts{byEnv: map[string]*host{}}

// hosts are the servers that the process uses, by the variables that choose one.
type hosts struct {
	mu    sync.Mutex
	byEnv map[string]*host
}

// get returns the host for the present environment, and connects to it if it is new. A failure is
// not remembered.
func (h *hosts) get(ctx context.Context) (*host, error) {
	key := os.Getenv("PGTEST_URL") + "\x00" + os.Getenv("PGTEST_BINDIR") + "\x00" + os.Getenv("PGTEST_VERSION")
	h.mu.Lock()
	defer h.mu.Unlock()
	if known := h.byEnv[key]; known != nil {
		return known, nil
	}
	made, err := newHost(ctx)
	if err != nil {
		return nil, err
	}
	h.byEnv[key] = made
	return made, nil
}

// forget is for a host whose server has gone: the next get looks for another. What is left of the
// connections stays open: if the server was only out of reach, running tests still need the lock.
func (h *hosts) forget(dead *host) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, known := range h.byEnv {
		if known == dead {
			delete(h.byEnv, key)
		}
	}
}

// background is on the stack of every goroutine that works for no test in particular: makes copies
// ahead, drops, sweeps. Each ends within a moment of the last test, but a goleak.VerifyTestMain on
// a busy machine waits for less; README.md tells its users this name, and those of what has a stack
// of its own.
//
//go:noinline
func background(fn func()) { fn() }
