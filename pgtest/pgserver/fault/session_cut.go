package fault

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
)

// capture keeps the answer to a request that will be cut, until the answer is complete.
type capture struct {
	plan
	skip      int // how many answers come first
	answer    []byte
	committed bool // the server says so
}

func (s *session) writeRequests() {
	for p := range s.pieces[0] {
		if p.request != nil && !s.meet(p) {
			return
		}
		s.mu.Lock()
		s.owed += p.turns
		s.mu.Unlock()
		if !s.write(s.server, ToServer, p.data, p.arrived) {
			return
		}
	}
	if s.abandoned.Load() {
		<-s.ctx.Done()
	}
}

// meet does what is planned for the request of p, and reports whether to pass p on.
func (s *session) meet(p piece) bool {
	// A delay and a frozen network come first.
	if _, ok := s.link(ToServer).admit(p.arrived, 1, s.ctx.Done()); !ok {
		return false
	}
	p.request.PID = s.pid.Load()
	planned := s.plan(*p.request)
	switch planned.where {
	case Pass:
	case BeforeRequest:
		return false
	case InRequest:
		s.write(s.server, ToServer, p.data[:len(p.data)/2], p.arrived)
		return false
	case HoldRequest:
		s.hold()
		return false
	case AbandonRequest:
		s.abandon()
		<-s.ctx.Done()
		return false
	case AbandonAnswer:
		s.abandon()
	default:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.capture == nil {
			s.capture = &capture{plan: planned, skip: s.owed}
		}
	}
	return true
}

// hold waits until the client gives up, or the session is closed.
func (s *session) hold() {
	select {
	case <-s.leaving:
	case <-s.ctx.Done():
	}
}

// abandon ends the connection for the client only.
func (s *session) abandon() {
	s.abandoned.Store(true)
	s.socket.Close()
}

// abandons reports whether a cancel request is for an abandoned session.
func (p *Proxy) abandons(cancel message) bool {
	if len(cancel) < 12 {
		return false
	}
	pid := binary.BigEndian.Uint32(cancel[8:])
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.open {
		if s.pid.Load() == pid && s.abandoned.Load() {
			return true
		}
	}
	return false
}

func (s *session) writeAnswers() {
	for p := range s.pieces[1] {
		s.mu.Lock()
		c := s.capture
		if c == nil {
			s.owed -= p.turns
		}
		s.mu.Unlock()
		if c == nil && !s.answer(p, p.data) || c != nil && !s.captureFrom(p, c) {
			return
		}
	}
	// The server has hung up before the answer was whole.
	s.mu.Lock()
	c := s.capture
	s.mu.Unlock()
	if c != nil && c.refund != nil {
		c.refund()
		s.answer(piece{}, c.answer)
	}
}

// answer passes data, which is of p, on to the client.
func (s *session) answer(p piece, data []byte) bool {
	if len(data) == 0 {
		return true
	}
	s.clientSpoke.Store(false)
	if p.turns > 0 {
		s.ready.Store(true)
	}
	// A write that abandon breaks off does not end the session either.
	return s.abandoned.Load() || s.write(s.client, FromServer, data, p.arrived) || s.abandoned.Load()
}

// captureFrom passes on the answers in p that come before the captured one, keeps that, and acts
// when it is whole. It reports whether the session goes on.
func (s *session) captureFrom(p piece, c *capture) bool {
	var before []byte
	turns := p.turns
	for rest := p.data; len(rest) > 0; {
		var m message
		m, rest = cutMessage(rest)
		if c.skip > 0 {
			before = append(before, m...)
		} else {
			c.answer = append(c.answer, m...)
			c.committed = c.committed || m.kind() == 'C' && bytes.HasPrefix(m[5:], []byte("COMMIT"))
		}
		if m.kind() != 'Z' {
			continue
		}
		if c.skip > 0 {
			c.skip--
			turns--
			s.mu.Lock()
			s.owed--
			s.mu.Unlock()
			continue
		}
		if c.refund == nil || c.committed {
			return s.answer(p, before) && s.end(p, c)
		}
		c.refund()
		s.mu.Lock()
		s.capture = nil
		s.owed -= turns // that of this answer, and what is left in p
		s.mu.Unlock()
		return s.answer(p, before) && s.answer(p, c.answer) && s.answer(p, rest)
	}
	return s.answer(p, before)
}

// end cuts the connection at a whole answer. It returns false: the session is over.
func (s *session) end(p piece, c *capture) bool {
	switch c.where {
	case InAnswer:
		s.answer(p, c.answer[:1+rand.IntN(len(c.answer)-1)])
	case HoldAnswer:
		s.hold()
	}
	return false
}
