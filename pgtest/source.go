package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// source makes clones of one template, some of them before a test asks. It is safe for concurrent
// use.
type source struct {
	host  *host
	key   string // of all that the template's content depends on
	roles *roles

	once sync.Once
	err  error // why there is no template
	// attributes give a clone what CREATE DATABASE does not copy. [cloneName] stands for its name.
	attributes []string

	mu       sync.Mutex
	ready    []clone
	waiters  []chan clone
	creating int
	taken    int
}

// clone is a database, or why it could not be made.
type clone struct {
	name string
	// adoptable clones may be taken over by another process when this one has ended. The name says
	// so, and changes when a test gets the clone.
	adoptable bool
	err       error
}

// take returns a clone that no other test gets. It blocks until there is one or ctx is done.
func (s *source) take(ctx context.Context) (clone, error) {
	s.mu.Lock()
	s.taken++
	if len(s.ready) > 0 {
		c := s.ready[0]
		s.ready = s.ready[1:]
		if s.taken == 1 {
			// This may be the only test of the process: make a copy for the next process now.
			s.refill()
		} else {
			// Not now: the test connects next, and would share the processors with a copy.
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

// refill starts creators while there are too few clones, ready or in progress. The caller holds
// s.mu. The number of clones made ahead grows with the number of tests seen, because the first test
// may be the only one. On the server of PGTEST_URL none are made ahead: nothing would remove them
// when the process ends.
func (s *source) refill() {
	want := 0
	if s.host.server.Ephemeral() && s.host.running.Load() > 0 {
		want = min(ahead, s.taken)
	}
	for s.creating < creators && s.creating < want+len(s.waiters)-len(s.ready) {
		adoptable := s.creating >= len(s.waiters)
		s.creating++
		go background(func() { s.create(adoptable) })
	}
}

func (s *source) create(adoptable bool) {
	c := clone{name: s.host.newName(s.key, adoptable), adoptable: adoptable}
	c.err = s.host.creates.exec(context.Background(), s.createStatements(c)...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.creating--
	switch {
	case len(s.waiters) > 0:
		s.waiters[0] <- c
		s.waiters = s.waiters[1:]
	case c.err == nil:
		s.ready = append(s.ready, c)
	default:
		return // the next test that asks will see why
	}
	s.refill()
}

func (s *source) createStatements(c clone) []string {
	name := c.name
	if len(s.attributes) > 0 {
		name = s.host.newName(s.key, false) // another process must not adopt it before it is complete
	}
	create := fmt.Sprintf("create database %s template %s owner %s", quoted(name), quoted(s.template()),
		quoted(s.roles.owner))
	if s.host.fileCopy {
		create += " strategy file_copy"
	}
	statements := append([]string{create}, s.attributesOf(name)...)
	if name != c.name {
		statements = append(statements, renameStatement(name, c.name))
	}
	return statements
}

func (s *source) attributesOf(name string) []string {
	statements := make([]string, len(s.attributes))
	for i, sql := range s.attributes {
		statements[i] = strings.ReplaceAll(sql, quoted(cloneName), quoted(name))
	}
	return statements
}

func renameStatement(from, to string) string {
	return "alter database " + quoted(from) + " rename to " + quoted(to)
}

// claim returns a clone under a name that tells other processes that it is in use.
func (s *source) claim(ctx context.Context) (name string, err error) {
	c, err := s.take(ctx)
	if err != nil {
		return "", fmt.Errorf("copy the template: %w", err)
	}
	name = c.name
	err = s.host.control(context.WithoutCancel(ctx), func(ctx context.Context, conn *pgx.Conn) error {
		if c.adoptable {
			name = s.host.newName(s.key, false)
			if err := execEach(ctx, conn, renameStatement(c.name, name)); err != nil {
				return err
			}
		}
		return s.roles.restore(ctx, conn)
	})
	if err != nil {
		return "", fmt.Errorf("prepare the database: %w", err)
	}
	return name, nil
}

// url returns the connection string of a clone for the role that tests connect as.
func (s *source) url(name string) (string, error) {
	u, err := url.Parse(s.host.server.DatabaseURL(name))
	if err != nil {
		return "", errors.New("the server's connection string does not parse") // err would quote it
	}
	parameters := u.Query()
	for _, p := range []string{"user", "password", "dbname", "database"} { // would win over what follows
		parameters.Del(p)
	}
	u.User = url.User(s.roles.user)
	if s.roles.password != "" {
		u.User = url.UserPassword(s.roles.user, s.roles.password)
	}
	u.RawQuery = encodeQuery(parameters)
	return u.String(), nil
}

// encodeQuery writes parameters as every client reads them: libpq takes a plus sign for itself.
func encodeQuery(parameters url.Values) string {
	return strings.ReplaceAll(parameters.Encode(), "+", "%20")
}

// notAdoptable stands in a name instead of a key.
const notAdoptable = "0000000000000000"

// newName returns a name with what a sweep needs: that the database is ours, which process made it,
// and, until a test gets it, which template it is a copy of.
func (h *host) newName(key string, adoptable bool) string {
	if !adoptable {
		key = notAdoptable
	}
	var random [5]byte
	rand.Read(random[:]) // never fails
	return fmt.Sprintf("pgtest_%s_%.16s_%s", h.lease.Token(), key, hex.EncodeToString(random[:]))
}
