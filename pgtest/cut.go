package pgtest

import (
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Switch stands between a program and a database and breaks the connection on demand, to test what
// the program does then. The faults act on every connection made with URL, present ones too; Heal
// ends them. It is safe for concurrent use.
type Switch struct {
	url      string
	socket   string
	network  string
	address  string
	sessions sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener // nil: connections are refused
	open     map[*session]struct{}
	hole     chan struct{} // not nil: nothing passes until it is closed
	delay    time.Duration
	commits  int // how many are still to be cut
	closed   bool
}

// Cut puts a switch in front of the database that connString names: [URL]'s result, or
// pool.Config().ConnString(). It listens on a Unix socket until the test ends, and reaches the
// server without TLS.
func Cut(t TB, connString string) *Switch {
	t.Helper()
	s, err := newSwitch(connString)
	if err != nil {
		t.Fatalf("pgtest: cut: %v", err)
		return nil
	}
	t.Cleanup(s.close)
	return s
}

func newSwitch(connString string) (*Switch, error) {
	cfg, err := pgx.ParseConfig(connString)
	if err != nil {
		return nil, errors.New("the connection string does not parse") // err would quote it
	}
	dir, err := os.MkdirTemp("", "pgcut")
	if err != nil {
		return nil, err
	}
	s := &Switch{socket: filepath.Join(dir, ".s.PGSQL.5432"), open: map[*session]struct{}{}}
	s.network, s.address = pgNetwork(cfg)
	user := url.User(cfg.User)
	if cfg.Password != "" {
		user = url.UserPassword(cfg.User, cfg.Password)
	}
	query := url.Values{"host": {dir}, "port": {"5432"}}
	for name, value := range cfg.RuntimeParams {
		query.Set(name, value)
	}
	s.url = (&url.URL{Scheme: "postgres", User: user, Path: "/" + cfg.Database, RawQuery: query.Encode()}).String()
	if err := s.listen(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

// URL leads to the database through the switch. It contains the password if there is one.
func (s *Switch) URL() string { return s.url }

// Refuse ends all connections and refuses new ones, as a server that is down.
func (s *Switch) Refuse() {
	s.mu.Lock()
	if s.listener != nil {
		s.listener.Close()
		s.listener = nil
	}
	s.mu.Unlock()
	s.Sever()
}

// Sever ends all connections in whatever they do. New ones are not affected.
func (s *Switch) Sever() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		c.close()
	}
}

// BlackHole lets nothing pass in either direction, and closes nothing: a frozen server, or a
// network that drops packets. New connections are accepted and get no answer. After Heal what was
// held up goes on.
func (s *Switch) BlackHole() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hole == nil {
		s.hole = make(chan struct{})
	}
}

// Delay holds up every request for d. Zero ends that.
func (s *Switch) Delay(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = d
}

// CutCommits lets the next n COMMITs reach the server, waits for them to be done, and then ends the
// connection instead of passing on the answer: the program cannot know whether its transaction was
// committed. It was.
func (s *Switch) CutCommits(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits = n
}

// Heal ends all faults. Connections that were ended stay so.
func (s *Switch) Heal() error {
	s.mu.Lock()
	s.delay, s.commits = 0, 0
	if s.hole != nil {
		close(s.hole)
		s.hole = nil
	}
	s.mu.Unlock()
	return s.listen()
}

// listen accepts connections, unless that goes on already or has ended for good.
func (s *Switch) listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil || s.closed {
		return nil
	}
	os.Remove(s.socket)
	l, err := net.Listen("unix", s.socket)
	if err != nil {
		return err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // a socket without a listener refuses, a missing one does not exist
	s.listener = l
	s.sessions.Go(func() { s.accept(l) })
	return nil
}

func (s *Switch) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		s.sessions.Go(func() { s.serve(client) })
	}
}

func (s *Switch) serve(client net.Conn) {
	c := &session{Switch: s, client: client, done: make(chan struct{})}
	s.mu.Lock()
	if s.listener == nil {
		s.mu.Unlock()
		client.Close()
		return
	}
	s.open[c] = struct{}{}
	s.mu.Unlock()
	defer func() {
		c.close()
		s.mu.Lock()
		delete(s.open, c)
		s.mu.Unlock()
	}()
	server, err := net.Dial(s.network, s.address)
	if err != nil {
		return
	}
	c.run(server)
}

func (s *Switch) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.Refuse()
	s.sessions.Wait()
	os.RemoveAll(filepath.Dir(s.socket))
}

// pass blocks while there is a black hole, and returns the delay. It reports false if done closes
// meanwhile.
func (s *Switch) pass(done <-chan struct{}) (time.Duration, bool) {
	for {
		s.mu.Lock()
		hole, delay := s.hole, s.delay
		s.mu.Unlock()
		if hole == nil {
			return delay, true
		}
		select {
		case <-hole:
		case <-done:
			return 0, false
		}
	}
}

// takeCommit reports whether this COMMIT is one to cut.
func (s *Switch) takeCommit() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.commits > 0 {
		s.commits--
		return true
	}
	return false
}

func pgNetwork(cfg *pgx.ConnConfig) (network, address string) {
	if filepath.IsAbs(cfg.Host) {
		return "unix", filepath.Join(cfg.Host, ".s.PGSQL."+itoa(cfg.Port))
	}
	return "tcp", net.JoinHostPort(cfg.Host, itoa(cfg.Port))
}
