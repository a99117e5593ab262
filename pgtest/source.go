package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
	"time"
)

// source makes clones of one template, some of them before a test asks. It is safe for concurrent use.
type source struct {
	host *host
	key  string // of role and migrations; in comments on the server

	once     sync.Once
	template string
	role     string
	err      error // why there is no template

	mu       sync.Mutex
	ready    []string // names of clones that nobody uses
	waiters  []chan clone
	creating int
	taken    int
	recycled []*recycled
	lastPut  time.Time // of recycled
}

// clone is a database, or why it could not be made.
type clone struct {
	name string
	err  error
}

// take returns a clone that nobody else gets. It blocks while there is none, at most until ctx is done.
func (s *source) take(ctx context.Context) (string, error) {
	s.mu.Lock()
	s.taken++
	if n := len(s.ready); n > 0 {
		name := s.ready[n-1]
		s.ready = s.ready[:n-1]
		s.refill()
		s.mu.Unlock()
		return name, nil
	}
	wait := make(chan clone, 1)
	s.waiters = append(s.waiters, wait)
	s.refill()
	s.mu.Unlock()
	select {
	case c := <-wait:
		return c.name, c.err
	case <-ctx.Done():
		s.giveUp(wait)
		return "", context.Cause(ctx)
	}
}

func (s *source) giveUp(wait chan clone) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiters = slices.DeleteFunc(s.waiters, func(w chan clone) bool { return w == wait })
	select {
	case c := <-wait: // came in the same moment
		if c.err == nil {
			s.ready = append(s.ready, c.name)
		}
	default:
	}
}

// refill starts creators as long as too few clones are there or on their way. s.mu is held. A first test alone may be the
// only one: the clones ahead grow with the number of tests seen. On a server that was not started for us nothing is made
// ahead, since nothing would remove it when the process ends.
func (s *source) refill() {
	want := len(s.waiters) - len(s.ready)
	if s.host.server.Ephemeral() {
		want += min(ahead, s.taken)
	}
	for s.creating < min(creators, want) {
		s.creating++
		go s.create()
	}
}

func (s *source) create() {
	name := s.host.newName(s.key)
	err := s.host.creates.exec(context.Background(), s.createStatements(name)...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.creating--
	switch {
	case len(s.waiters) > 0:
		s.waiters[0] <- clone{name, err}
		s.waiters = s.waiters[1:]
	case err == nil:
		s.ready = append(s.ready, name)
	default:
		return // the next who asks will see why
	}
	s.refill()
}

func (s *source) createStatements(name string) []string {
	create := fmt.Sprintf("create database %s template %s owner %s", quoted(name), quoted(s.template), quoted(s.role))
	if s.host.fileCopy {
		create += " strategy file_copy"
	}
	if !s.host.server.Ephemeral() {
		return []string{create}
	}
	return []string{create, comment(name, s.readyMark())}
}

// newName carries what a sweep needs: that the database is ours, and whose it is.
func (h *host) newName(key string) string {
	var random [5]byte
	rand.Read(random[:]) // never fails
	return fmt.Sprintf("pgtest_%s_%.8s_%s", h.token, key, hex.EncodeToString(random[:]))
}

// takeRecycled returns nil if there is none.
func (s *source) takeRecycled(ctx context.Context) *recycled {
	s.mu.Lock()
	n := len(s.recycled)
	if n == 0 {
		s.mu.Unlock()
		return nil
	}
	r := s.recycled[n-1]
	s.recycled = s.recycled[:n-1]
	s.mu.Unlock()
	if r.conn.Ping(ctx) != nil { // the server has gone, and the database with it
		return nil
	}
	return r
}

// putRecycled keeps a database for the next test. There are never more than tests ran at a time; what nobody takes for
// a while goes.
func (s *source) putRecycled(r *recycled) {
	s.mu.Lock()
	s.recycled = append(s.recycled, r)
	s.lastPut = time.Now()
	many := len(s.recycled) > recycledIdle
	s.mu.Unlock()
	if many {
		time.AfterFunc(recycledRest, s.trimRecycled)
	}
}

func (s *source) trimRecycled() {
	s.mu.Lock()
	var rest []*recycled
	if time.Since(s.lastPut) >= recycledRest && len(s.recycled) > recycledIdle {
		rest = s.recycled[recycledIdle:]
		s.recycled = s.recycled[:recycledIdle:recycledIdle]
	}
	s.mu.Unlock()
	for _, r := range rest {
		r.conn.Close(context.Background())
		s.host.note(s.host.drop(r.name))
	}
}
