package pgpool

import (
	"cmp"
	"crypto/tls"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// session is what is known about one connection. It is found through the connection's CustomData,
// without a lock that callers share.
type session struct {
	pid    uint32
	socket net.Conn        // beneath TLS: closing a tls.Conn may wait to say goodbye
	raw    syscall.RawConn // of socket; nil if it has none
	closed <-chan struct{} // when the connection has been closed

	// owner is the observer of the pool that has the connection, nil until that is known. A pool
	// that was made from another pool's Config runs the hooks of both.
	owner atomic.Pointer[observer]

	mu       sync.Mutex
	holding  bool
	since    time.Duration // on the owner's clock
	sql      string        // sent last by the holder, as it was sent
	stack    []uintptr     // where the holder called Acquire, if that was recorded
	reported bool          // as a leak

	// suspect is set when the server refused a write (25006).
	suspect atomic.Bool
	// checked is when the server's role was last looked at. Only an Acquire that has the connection
	// touches it.
	checked time.Time
}

const sessionKey = "pgpool.session"

func newSession(conn *pgx.Conn) *session {
	pc := conn.PgConn()
	s := &session{pid: pc.PID(), socket: pc.Conn(), closed: pc.CleanupDone(), checked: time.Now()}
	if secured, ok := s.socket.(*tls.Conn); ok {
		s.socket = secured.NetConn()
	}
	if socket, ok := s.socket.(syscall.Conn); ok {
		s.raw, _ = socket.SyscallConn() // nil with an error
	}
	pc.CustomData()[sessionKey] = s
	return s
}

// sessionOf returns nil for a connection that no pool with our hooks made.
func sessionOf(conn *pgx.Conn) *session {
	if conn == nil {
		return nil
	}
	s, _ := conn.PgConn().CustomData()[sessionKey].(*session)
	return s
}

func (s *session) acquired(now time.Duration, stack []uintptr) {
	s.mu.Lock()
	s.holding, s.since, s.sql, s.stack, s.reported = true, now, "", stack, false
	s.mu.Unlock()
}

func (s *session) sent(sql string) {
	s.mu.Lock()
	s.sql = sql
	s.mu.Unlock()
}

// released returns when the connection was acquired, and the holder if it was reported as a leak.
// ok is false if the connection comes from AcquireAllIdle, which calls no tracer.
func (o *observer) released(s *session) (since time.Duration, leak []Holder, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.holding {
		return 0, nil, false
	}
	if s.reported {
		leak = []Holder{o.holder(s)}
	}
	since = s.since
	s.holding, s.sql, s.stack, s.reported = false, "", nil, false
	return since, leak, true
}

// holder is called with the session's lock held, so it copies little. [describe] does the rest.
func (o *observer) holder(s *session) Holder {
	return Holder{
		PID: s.pid, Since: o.epoch.Add(s.since), Age: o.clock() - s.since, SQL: s.sql,
		session: s, since: s.since, stack: s.stack,
	}
}

// isClosed reports whether the connection has been closed completely.
func (s *session) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// claim returns the session of a connection that the pool has, and nil for another pool's.
func (o *observer) claim(conn *pgx.Conn) *session {
	s := sessionOf(conn)
	if s == nil || s.owner.Load() == o {
		return s
	}
	if !s.owner.CompareAndSwap(nil, o) {
		return nil
	}
	o.sessions.Store(s, nil)
	return s
}

// owned returns the session of a connection that is known to be this pool's, or nil.
func (o *observer) owned(conn *pgx.Conn) *session {
	if s := sessionOf(conn); s != nil && s.owner.Load() == o {
		return s
	}
	return nil
}

// allHeld returns the uses of connections at this moment, oldest first. It includes hijacked
// connections until they are closed.
func (o *observer) allHeld() (held []Holder) {
	for key := range o.sessions.Range {
		s, _ := key.(*session)
		if s.isClosed() {
			o.sessions.Delete(s) // it was hijacked and closed outside the pool
			continue
		}
		s.mu.Lock()
		if s.holding {
			held = append(held, o.holder(s))
		}
		s.mu.Unlock()
	}
	slices.SortFunc(held, func(a, b Holder) int { return cmp.Compare(a.since, b.since) })
	return held
}

// held returns the uses of the pool's connections, oldest first, and how many of them are of
// hijacked connections. Nothing tells which: the pool only counts fewer.
func (o *observer) held() (held []Holder, hijacked int) {
	held, hijacked = o.countHeld()
	if hijacked > 0 {
		// Or one was released and another acquired meanwhile. That hardly happens twice in a row.
		var again int
		held, again = o.countHeld()
		hijacked = min(hijacked, again)
	}
	return held, hijacked
}

func (o *observer) countHeld() (held []Holder, hijacked int) {
	// A holder counts here for a shorter time than in the pool. So if there are more here than
	// before and after, they are hijacked.
	before := int(o.pool.Load().Stat().AcquiredConns())
	held = o.allHeld()
	after := int(o.pool.Load().Stat().AcquiredConns())
	return held, max(len(held)-max(before, after), 0)
}
