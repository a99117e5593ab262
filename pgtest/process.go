package pgtest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// process is the only state that this package keeps in a variable: clones are made before the test
// that will own them starts. Each host holds its server until the process ends, even by kill -9,
// because the kernel releases it. Goroutines in the [background] all end.
var process = hosts{byEnv: map[string]*host{}, failed: map[string]error{}}

// hosts are the servers that the process uses, by the variables that choose one.
type hosts struct {
	mu     sync.Mutex
	byEnv  map[string]*host
	failed map[string]error // why there is no host
}

// get returns the host for the present environment, and connects to it if it is new. A failure
// stays: the other tests of the process fail at once instead of waiting for the same again.
func (h *hosts) get(ctx context.Context, settings map[string]string) (*host, error) {
	key := fmt.Sprintf("%q %q", []string{
		os.Getenv("PGTEST_URL"), os.Getenv("PGTEST_BINDIR"), os.Getenv("PGTEST_VERSION"),
	}, settings) // fmt sorts a map
	h.mu.Lock()
	defer h.mu.Unlock()
	if known := h.byEnv[key]; known != nil {
		return known, nil
	}
	if err := h.failed[key]; err != nil {
		return nil, fmt.Errorf("an earlier test of this process found no server: %w", err)
	}
	told := announce("a server for tests")
	made, err := newHost(ctx, settings)
	told()
	if err != nil {
		h.failed[key] = err
		return nil, err
	}
	h.byEnv[key] = made
	return made, nil
}

// forget drops a host whose server has gone: the next get looks for another. The connections stay
// open: if the server was only unreachable, running tests still need the lock.
func (h *hosts) forget(dead *host) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, known := range h.byEnv {
		if known == dead {
			delete(h.byEnv, key)
		}
	}
}

// background is on the stack of every goroutine that works for no particular test: it makes copies
// ahead, drops, or sweeps. Each ends within a moment of the last test, but on a busy machine
// goleak.VerifyTestMain may not wait long enough. README.md says how to ignore it.
//
//go:noinline
func background(fn func()) { fn() }

// announce says on standard error what pgtest is waiting for, if that takes longer than two
// seconds. The caller calls done at the end.
func announce(what string) (done func()) {
	t := time.AfterFunc(2*time.Second, func() { fmt.Fprintf(os.Stderr, "pgtest: waiting for %s\n", what) })
	return func() { t.Stop() }
}
