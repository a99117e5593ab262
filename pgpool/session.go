package pgpool

import (
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// session is what is known about one connection of the pool. It is found through the connection's
// CustomData, without a lock that callers share.
type session struct {
	pid    uint32
	socket net.Conn        // not the tls.Conn on it, whose Close may wait to say goodbye
	raw    syscall.RawConn // of socket, beneath TLS; nil if it has none
	closed <-chan struct{} // when the connection has been closed, by whomever

	mu       sync.Mutex
	since    time.Time // zero: nobody holds it
	sql      string    // last sent by the holder
	stack    []uintptr // of the holder's Acquire, once a leak has been seen
	reported bool      // as a leak

	// suspect is set when the server refused a write (25006).
	suspect atomic.Bool
	// checked is when the server's role was last looked at. Only who has the connection touches it.
	checked time.Time
}

const sessionKey = "pgpool.session"

func newSession(conn *pgx.Conn) *session {
	pc := conn.PgConn()
	s := &session{pid: pc.PID(), socket: pc.Conn(), closed: pc.CleanupDone(), checked: time.Now()}
	if t, ok := s.socket.(*tls.Conn); ok {
		s.socket = t.NetConn()
	}
	if socket, ok := s.socket.(syscall.Conn); ok {
		s.raw, _ = socket.SyscallConn() // nil with an error
	}
	pc.CustomData()[sessionKey] = s
	return s
}

// sessionOf returns nil for a connection that is not one of the pool's, such as the one that
// Connect tries.
func sessionOf(conn *pgx.Conn) *session {
	if conn == nil {
		return nil
	}
	s, _ := conn.PgConn().CustomData()[sessionKey].(*session)
	return s
}

func (s *session) acquired(now time.Time, stack []uintptr) {
	s.mu.Lock()
	s.since, s.sql, s.stack, s.reported = now, "", stack, false
	s.mu.Unlock()
}

func (s *session) sent(sql string) {
	s.mu.Lock()
	s.sql = sql
	s.mu.Unlock()
}

// released returns how long the connection was held, who held it, and whether that was reported as
// a leak.
func (s *session) released() (held time.Duration, holder Holder, reported bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() { // from AcquireAllIdle, which calls no tracer
		return 0, Holder{}, false
	}
	held, reported = time.Since(s.since), s.reported
	if reported {
		holder = s.holder()
	}
	s.since, s.sql, s.stack, s.reported = time.Time{}, "", nil, false
	return held, holder, reported
}

// holder is called with mu held.
func (s *session) holder() Holder {
	return Holder{PID: s.pid, Since: s.since, Age: time.Since(s.since), SQL: loggedSQL(s.sql), stack: s.stack}
}

// cut closes the socket under whoever uses it.
func (s *session) cut() {
	s.socket.Close()
}

// sessions are the connections of one pool.
type sessions struct {
	mu  sync.Mutex
	all map[*session]struct{}
}

func (r *sessions) add(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[*session]struct{}{}
	}
	r.all[s] = struct{}{}
}

func (r *sessions) remove(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, s)
}

// each calls f for every connection that is open. A hijacked one leaves the pool without a word and
// counts until it is closed.
func (r *sessions) each(f func(*session)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for s := range r.all {
		select {
		case <-s.closed:
			delete(r.all, s)
			continue
		default:
		}
		f(s)
	}
}
