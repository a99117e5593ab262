package pgtest

import (
	"context"
	"encoding/binary"
	"maps"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// recorded writes down what the two sides say while a session starts.
type recorded struct {
	net.Conn
	network, address string
	asked, answer    []byte
	messages         int
}

func (r *recorded) Write(b []byte) (int, error) {
	r.messages++
	r.asked = append(r.asked, b...)
	return r.Conn.Write(b)
}

func (r *recorded) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.answer = append(r.answer, b[:n]...)
	return n, err
}

// resumed is a [warm] connection for a client that believes it to be new: it is given the recorded
// answer to its start-up message. If that asks for anything else than the recorded one did, the
// client gets a connection that is new.
type resumed struct {
	warm *warm
	ctx  context.Context // of the dial, which is put off
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	decided chan struct{} // closed when the client's first message, or Close, was there
	once    sync.Once

	mu     sync.Mutex
	conn   net.Conn
	answer []byte // still to be read by the client
}

var _ net.Conn = (*resumed)(nil)

func (r *resumed) present() net.Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conn
}

// Write sends b, and decides with the first what the connection is.
func (r *resumed) Write(b []byte) (int, error) {
	var (
		same bool
		err  error
	)
	r.once.Do(func() {
		defer close(r.decided)
		if same = sameSession(b, r.warm.asked); same {
			r.answer = r.warm.answer
			return
		}
		err = r.redial()
	})
	if err != nil {
		return 0, err
	}
	if same {
		return len(b), nil
	}
	return r.present().Write(b)
}

// redial makes a new connection in the place of the warm one.
func (r *resumed) redial() error {
	conn, err := r.dial(r.ctx, r.warm.network, r.warm.address)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.conn.Close()
	r.conn = conn
	r.mu.Unlock()
	return r.ctx.Err() // a deadline that it set may have gone to the other
}

// Read returns the recorded answer first. pgx may read before its first write is done, and in one
// goroutine at a time.
func (r *resumed) Read(b []byte) (int, error) {
	<-r.decided
	if len(r.answer) > 0 {
		n := copy(b, r.answer)
		r.answer = r.answer[n:]
		return n, nil
	}
	return r.present().Read(b)
}

// Close ends the connection that there is now.
func (r *resumed) Close() error {
	r.once.Do(func() { close(r.decided) })
	return r.present().Close()
}

// LocalAddr is the present connection's, like all that follows.
func (r *resumed) LocalAddr() net.Addr                { return r.present().LocalAddr() }
func (r *resumed) RemoteAddr() net.Addr               { return r.present().RemoteAddr() }
func (r *resumed) SetDeadline(t time.Time) error      { return r.present().SetDeadline(t) }
func (r *resumed) SetReadDeadline(t time.Time) error  { return r.present().SetReadDeadline(t) }
func (r *resumed) SetWriteDeadline(t time.Time) error { return r.present().SetWriteDeadline(t) }

// sameSession compares two start-up messages. Their parameters have no order.
func sameSession(a, b []byte) bool {
	x, okX := startup(a)
	y, okY := startup(b)
	return okX && okY && x.ProtocolVersion == y.ProtocolVersion && maps.Equal(x.Parameters, y.Parameters)
}

func startup(b []byte) (m pgproto3.StartupMessage, ok bool) {
	if len(b) < 8 || int(binary.BigEndian.Uint32(b)) != len(b) {
		return m, false
	}
	return m, m.Decode(b[4:]) == nil
}
