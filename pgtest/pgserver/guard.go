package pgserver

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/flock"
)

// guardEvery is how often a user looks whether the watchdog lives. A watchdog and all users must be
// killed within it for a server to stay behind.
const guardEvery = 2 * time.Second

// guard replaces the server's watchdog if that dies before its user does. It runs on a timer,
// without a goroutine that waits.
type guard struct {
	spec *spec
	inst *instance

	mu    sync.Mutex
	timer *time.Timer // nil once the server was released
}

func (s *spec) guard(inst *instance) *guard {
	g := &guard{spec: s, inst: inst}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.timer = time.AfterFunc(guardEvery, g.look)
	return g
}

// release gives the server up, with a watchdog to see it.
func (g *guard) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.timer == nil {
		return
	}
	g.timer.Stop()
	g.timer = nil
	g.check()
	g.inst.leave()
}

func (g *guard) look() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.timer == nil {
		return
	}
	g.check()
	g.timer.Reset(guardEvery)
}

// check looks, and starts another watchdog if need be; whoever comes first does, under the lock. If
// that fails the next look tries again.
func (g *guard) check() {
	if g.watched() {
		return
	}
	if _, err := os.Stat(filepath.Join(g.inst.dir, "users")); err != nil {
		return // the server went by itself, and its watchdog after it
	}
	lock, err := flock.Try(filepath.Join(g.spec.cache, g.spec.key+".lock"))
	if err != nil || lock == nil {
		return
	}
	defer lock.Close()
	if !g.watched() {
		_ = g.spec.watch(g.inst.dir, "adopt", nil)
	}
}

// watched writes a line like a user that joins: without a reader that fails. A full FIFO has one.
func (g *guard) watched() bool {
	_, err := syscall.Write(g.inst.users, []byte("\n"))
	return !errors.Is(err, syscall.EPIPE)
}
