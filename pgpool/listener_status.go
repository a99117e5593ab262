package pgpool

import (
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// ListenerStatus shows what a [Listener] is doing, to a health check for example. The zero value is
// ready to be handed to [WithListenerStatus]. It is safe for concurrent use.
type ListenerStatus struct {
	mu    sync.Mutex
	conn  *pgx.Conn
	state ListenerState
}

// ListenerState is the state of a listener at one moment.
type ListenerState struct {
	// Connected says whether it has an open connection. One whose peer vanished counts until TCP
	// gives it up, within a minute by [DefaultKeepAlive].
	Connected bool
	// Since is when Connected last changed; zero before the first connection.
	Since time.Time
	// Connects counts the connections made. Each one beyond the first means that notifications may
	// have been missed.
	Connects int
	// Err is the last error, nil if there was none since the connection was made. It holds no
	// password.
	Err error
}

// WithListenerStatus makes a [Listener] report to status. It does nothing for a pool.
func WithListenerStatus(status *ListenerStatus) Option {
	return func(s *settings) { s.status = status }
}

// State returns the state at this moment.
func (s *ListenerStatus) State() ListenerState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func (s *ListenerStatus) connected(conn *pgx.Conn) {
	s.mu.Lock()
	s.conn = conn
	s.state = ListenerState{Connected: true, Since: time.Now(), Connects: s.state.Connects + 1}
	s.mu.Unlock()
	go func() { // ends with the connection, which Listen closes
		<-conn.PgConn().CleanupDone()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.conn == conn {
			s.conn, s.state.Connected, s.state.Since = nil, false, time.Now()
		}
	}()
}

func (s *ListenerStatus) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Err = err
}
