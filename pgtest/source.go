package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/peterldowns/pgtestdb"
)

// source makes clones of one template, some of them before a test asks. It is safe for concurrent
// use.
type source struct {
	host *host
	key  string // of role and migrations; in comments on the server

	once     sync.Once
	template string
	conf     pgtestdb.Config // of the role
	err      error           // why there is no template

	mu       sync.Mutex
	primed   []clone // connected to
	ready    []clone
	waiters  []chan clone
	creating int
	priming  int
	taken    int
	recycled []*recycled
	lastPut  time.Time // of recycled
}

// clone is a database, or why it could not be made.
type clone struct {
	name string
	// adoptable: another process may take it over when this one has ended, unless it is marked as
	// used before.
	adoptable bool
	warm      *warm // nil: none
	err       error
}

// take returns a clone that nobody else gets; connect says that the caller can use a warm
// connection. It blocks while there is none, at most until ctx is done.
func (s *source) take(ctx context.Context, connect bool) (clone, error) {
	s.mu.Lock()
	s.taken++
	if c, ok := s.pop(connect); ok {
		if c.warm == nil {
			// The test waits for its connection now. If it is the process's only one and short,
			// this copy is the next process's.
			s.refill()
		} else {
			// Not now: the test's own first steps are next, and would share the processors with a
			// copy.
			time.AfterFunc(refillDelay, func() { background(s.refillLocked) })
		}
		s.mu.Unlock()
		return c, nil
	}
	wait := make(chan clone, 1)
	s.waiters = append(s.waiters, wait)
	s.refill()
	s.mu.Unlock()
	select {
	case c := <-wait:
		return c, c.err
	case <-ctx.Done():
		s.giveUp(wait)
		return clone{}, context.Cause(ctx)
	}
}

// pop finds a clone that is there. s.mu is held.
func (s *source) pop(connect bool) (clone, bool) {
	from := []*[]clone{&s.ready, &s.primed}
	if connect {
		from = []*[]clone{&s.primed, &s.ready}
	}
	for _, clones := range from {
		for len(*clones) > 0 {
			c := (*clones)[0]
			*clones = (*clones)[1:]
			if c.warm == nil || c.warm.alive() {
				return c, true
			}
			// The server has gone, and the database with it, or somebody ended the connection.
			c.warm.close()
			go background(func() { s.host.note(s.host.drop(c.name)) }) // it blocks while many wait
		}
	}
	return clone{}, false
}

func (s *source) giveUp(wait chan clone) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiters = slices.DeleteFunc(s.waiters, func(w chan clone) bool { return w == wait })
	select {
	case c := <-wait: // came in the same moment
		if c.err == nil {
			s.ready = append(s.ready, c)
		}
	default:
	}
}

func (s *source) refillLocked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refill()
}

// refill starts creators as long as too few clones are there or on their way. s.mu is held. A first
// test alone may be the only one: the clones ahead grow with the number of tests seen, and none is
// made when no test is running. On a server that was not started for us nothing is made ahead,
// since nothing would remove it when the process ends.
func (s *source) refill() {
	want := 0
	if s.host.server.Ephemeral() && s.host.running.Load() > 0 {
		want = min(ahead, s.taken)
	}
	for s.creating+s.priming < creators {
		there := len(s.ready) + len(s.primed) + s.priming
		switch {
		case s.creating < len(s.waiters):
			s.creating++
			go background(func() { s.create(false) })
		case len(s.ready) > 0 && len(s.primed)+s.priming < min(primedAhead, want-1):
			c := s.ready[0]
			s.ready = s.ready[1:]
			s.priming++
			go background(func() { s.prime(c) })
		case there+s.creating < want+len(s.waiters):
			s.creating++
			go background(func() { s.create(true) })
		default:
			return
		}
	}
}

func (s *source) create(adoptable bool) {
	c := clone{name: s.host.newName(s.key, adoptable), adoptable: adoptable}
	c.err = s.host.creates.exec(context.Background(), s.createStatement(c.name))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.creating--
	s.deliver(c, &s.ready)
}

// prime makes a clone this process's own, so that a test that takes it has nothing to wait for.
func (s *source) prime(c clone) {
	if c.adoptable {
		c.err = s.host.creates.exec(context.Background(), comment(c.name, usedMark))
		c.adoptable = false
	}
	if c.err == nil {
		c.warm = s.host.warm(s.url(c.name)) // a clone without is still a clone
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.priming--
	s.deliver(c, &s.primed)
}

// deliver gives the clone to who waits, or puts it aside. s.mu is held.
func (s *source) deliver(c clone, aside *[]clone) {
	switch {
	case len(s.waiters) > 0:
		s.waiters[0] <- c
		s.waiters = s.waiters[1:]
	case c.err == nil:
		*aside = append(*aside, c)
	default:
		return // the next who asks will see why
	}
	s.refill()
}

func (s *source) createStatement(name string) string {
	create := fmt.Sprintf("create database %s template %s owner %s", quoted(name),
		quoted(s.template), quoted(s.conf.User))
	if s.host.fileCopy {
		create += " strategy file_copy"
	}
	return create
}

// url leads to a clone, as the role that owns it.
func (s *source) url(name string) string {
	conf := s.conf
	conf.Database = name
	return conf.URL()
}

// notAdoptable stands in a name instead of a key.
const notAdoptable = "0000000000000000"

// newName carries what a sweep needs: that the database is ours, whose it is, and, for one that
// nobody waits for, what it is a copy of. So a copy that is finished after its process ended is of
// use to the next.
func (h *host) newName(key string, adoptable bool) string {
	if !adoptable {
		key = notAdoptable
	}
	var random [5]byte
	rand.Read(random[:]) // never fails
	return fmt.Sprintf("pgtest_%s_%.16s_%s", h.token, key, hex.EncodeToString(random[:]))
}
