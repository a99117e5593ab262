package fault

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// pieceSize is about how much the proxy passes on at a time, in bytes.
	pieceSize = 64 << 10
	// queued is how many pieces each direction of a connection holds up before the proxy stops
	// reading: a delayed connection must not be a slow one.
	queued = 256
)

// session is one connection through a proxy. A reader and a writer in each direction carry pieces.
type session struct {
	*Proxy
	target  target
	socket  net.Conn        // of the client
	client  net.Conn        // the same, with TLS if the proxy has it
	ctx     context.Context // done when the session is closed
	cancel  context.CancelFunc
	leaving chan struct{} // closed when the client has said goodbye or hung up
	pieces  [2]chan piece // by direction

	clientSpoke atomic.Bool // last
	ready       atomic.Bool // the server has been ready for a query
	pid         atomic.Uint32
	abandoned   atomic.Bool // the client is cut off, and the server does not know

	mu      sync.Mutex
	server  net.Conn
	owed    int // how often the server still has to say that it is ready for the next query
	capture *capture
}

// piece is what a reader hands to its writer: whole messages, unless the proxy is raw.
type piece struct {
	data     []byte
	arrived  time.Time
	request  *Request // that the last message makes
	extended bool     // messages of the extended protocol, from Parse to Execute
	turns    int      // messages that ask for a ReadyForQuery, or are one
}

func newSession(p *Proxy, client net.Conn, t target) *session {
	s := &session{Proxy: p, target: t, socket: client, client: client, leaving: make(chan struct{}), owed: 1}
	s.ctx, s.cancel = context.WithCancel(p.ctx)
	s.pieces = [2]chan piece{make(chan piece, queued), make(chan piece, queued)}
	return s
}

// close ends the session: both connections are closed when it returns, and run returns soon after.
func (s *session) close() {
	s.cancel()
	s.socket.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		s.server.Close()
	}
}

// run returns when the session has ended and all its goroutines have.
func (s *session) run() {
	defer s.close()
	if !s.connect() {
		return
	}
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() {
		defer close(s.pieces[0])
		defer close(s.leaving)
		if s.opts.Raw {
			s.readRaw(s.client, ToServer)
			return
		}
		s.readRequests()
	})
	all.Go(func() {
		defer close(s.pieces[1])
		if s.opts.Raw {
			s.readRaw(s.server, FromServer)
			return
		}
		s.readAnswers()
	})
	all.Go(func() {
		defer s.close()
		s.writeRequests()
	})
	defer s.close()
	s.writeAnswers()
}

// connect reads what the client says first, and connects to the server. It returns false if the
// session is over.
func (s *session) connect() bool {
	if s.opts.Raw {
		return s.gate() && s.dial()
	}
	for {
		code, first, err := readFirst(s.client)
		if err != nil {
			return false
		}
		switch code {
		case codeSSL, codeGSS:
			if !s.gate() || !s.negotiate(code) {
				return false
			}
		case codeCancel:
			s.count(func(st *Stats) { st.Cancels++ })
			if s.gate() && !s.abandons(first) && s.dial() && s.write(s.server, ToServer, first, time.Now()) {
				// The server ends the connection when it has done what it was asked for.
				_, _ = io.Copy(io.Discard, s.server)
			}
			return false
		default:
			if !s.gate() || !s.dial() {
				return false
			}
			s.pieces[0] <- piece{data: first, arrived: time.Now()}
			return true
		}
	}
}

// gate waits while a fault holds up both directions, which a handshake needs.
func (s *session) gate() bool {
	now := time.Now()
	_, to := s.link(ToServer).admit(now, 1, s.ctx.Done())
	_, from := s.link(FromServer).admit(now, 1, s.ctx.Done())
	return to && from
}

func (s *session) negotiate(code uint32) bool {
	if code != codeSSL || s.opts.TLS == nil {
		_, err := s.client.Write([]byte("N"))
		return err == nil
	}
	if _, err := s.client.Write([]byte("S")); err != nil {
		return false
	}
	secured := tls.Server(s.client, s.opts.TLS)
	if err := secured.HandshakeContext(s.ctx); err != nil {
		// Closing a connection with unread bytes resets it, and the reset may overtake the alert
		// that says what is wrong.
		_, _ = io.Copy(io.Discard, s.client)
		return false
	}
	s.client = secured
	return true
}

func (s *session) dial() bool {
	server, err := s.target.dial(s.ctx, s.opts.Raw)
	if err != nil {
		return false
	}
	s.mu.Lock()
	s.server = server
	s.mu.Unlock()
	if s.ctx.Err() != nil { // closed meanwhile
		server.Close()
		return false
	}
	return true
}

func (s *session) readRaw(from net.Conn, d Direction) {
	for {
		data := make([]byte, pieceSize)
		n, err := from.Read(data)
		if !s.flush(d, &piece{data: data[:n]}) || err != nil {
			return
		}
	}
}

// flush hands a piece to the writer, and begins another one. It reports whether the session goes
// on.
func (s *session) flush(d Direction, p *piece) bool {
	if len(p.data) == 0 {
		return true
	}
	to := s.pieces[1]
	if d == ToServer {
		to = s.pieces[0]
	}
	p.arrived = time.Now()
	select {
	case to <- *p:
		*p = piece{}
		return true
	case <-s.ctx.Done():
		return false
	}
}

// turnReader notices when the client speaks after the server.
type turnReader struct {
	s    *session
	turn bool
}

func (r *turnReader) Read(b []byte) (int, error) {
	n, err := r.s.client.Read(b)
	if n > 0 && !r.s.clientSpoke.Swap(true) {
		r.turn = true
	}
	return n, err
}

func (s *session) readRequests() {
	turns := &turnReader{s: s}
	r := bufio.NewReaderSize(turns, pieceSize)
	track := tracker{map[string]string{}, map[string]string{}}
	var p piece
	for {
		m, err := readMessage(r)
		if err != nil || m.kind() == 'X' { // Terminate
			p.data = append(p.data, m...)
			s.flush(ToServer, &p)
			return
		}
		if turns.turn {
			turns.turn = false
			if s.ready.Load() {
				s.count(func(st *Stats) { st.Flushes++ })
			}
		}
		k := m.kind()
		extended := bytes.IndexByte([]byte("PBDCE"), k) >= 0 // Parse to Execute make one request together
		if extended != p.extended && !s.flush(ToServer, &p) {
			return
		}
		p.extended = extended
		p.data = append(p.data, m...)
		request, whole := track.request(m)
		if whole {
			p.request = &request
		}
		if k == 'Q' || k == 'S' || k == 'F' { // query, sync, function call
			p.turns++
			whole = true
		}
		if whole || !extended && (r.Buffered() == 0 || len(p.data) > pieceSize) {
			if !s.flush(ToServer, &p) {
				return
			}
		}
	}
}

func (s *session) readAnswers() {
	r := bufio.NewReaderSize(s.server, pieceSize)
	var p piece
	for {
		m, err := readMessage(r)
		if err != nil {
			s.flush(FromServer, &p)
			return
		}
		switch {
		case m.kind() == 'Z': // ready for query
			p.turns++
		case m.kind() == 'K' && len(m) >= 9 && !s.ready.Load(): // key data
			s.pid.Store(binary.BigEndian.Uint32(m[5:]))
		}
		p.data = append(p.data, m...)
		if (r.Buffered() == 0 || len(p.data) > pieceSize) && !s.flush(FromServer, &p) {
			return
		}
	}
}

// write passes data on as the link admits it, and reports whether the session goes on.
func (s *session) write(to net.Conn, d Direction, data []byte, arrived time.Time) bool {
	for len(data) > 0 {
		n, ok := s.link(d).admit(arrived, len(data), s.ctx.Done())
		if !ok {
			return false
		}
		if _, err := to.Write(data[:n]); err != nil {
			return false
		}
		data = data[n:]
	}
	return true
}
